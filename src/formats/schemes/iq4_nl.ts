import { iq4Nl } from "../codebooks.js";
import { f16 } from "../f16.js";
import type { Scheme } from "../scheme.js";
import { byGroup, finiteEncoder } from "./groups.js";
import { encodeLevels, searchedScale } from "./iq4.js";

/** w = d * level[code]. */
export const iq4_nl: Scheme = {
  name: "iq4_nl",
  summary: "GGUF IQ4_NL: 16 non-linear levels, f16 scale for 32",
  source: "ggml, block_iq4_nl (ggml-common.h)",
  element: iq4Nl,
  scale: { format: f16, per: 32 },
  quantize: byGroup(() => {
    const scaleCode = finiteEncoder(f16, "block scale");
    return (group) => {
      const scale = searchedScale(group.values, group);
      encodeLevels(group.values, group, scale, group.codes);
      group.scale = scaleCode(scale);
    };
  }),
};
