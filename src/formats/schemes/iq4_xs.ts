import { iq4Nl } from "../codebooks.js";
import { f16 } from "../f16.js";
import type { Scheme } from "../scheme.js";
import { extremeOf, finiteEncoder } from "./groups.js";
import { encodeLevels, searchedScale } from "./iq4.js";
import { bySuperBlock, nearestInt, offsetInt, SUPER } from "./super-blocks.js";

const { fround: f, max, min } = Math;

/** w = (d * scale) * level[code]. Codes are chosen with d before its rounding to f16, as ggml does. */
export const iq4_xs: Scheme = {
  name: "iq4_xs",
  summary: "GGUF IQ4_XS: 16 non-linear levels, 6-bit scale for 32, f16 scale for 256",
  source: "ggml, block_iq4_xs (ggml-common.h)",
  element: iq4Nl,
  scale: { format: offsetInt(6, 32), per: 32, super: { format: f16, per: SUPER } },
  quantize: bySuperBlock(32, () => {
    const scaleCode = finiteEncoder(f16, "super-block scale");
    const scales = new Float32Array(SUPER / 32);
    return (block) => {
      const { values, codes, groups } = block;
      for (const [g, group] of groups.entries()) scales[g] = searchedScale(values, group);
      const d = f(-extremeOf(scales, 0, groups.length) / 32);
      const inverse = d === 0 ? 0 : f(1 / d);
      for (const [g, group] of groups.entries()) {
        const l = max(-32, min(31, nearestInt(f(inverse * scales[g]))));
        encodeLevels(values, group, f(d * l), codes);
        block.scales[g] = l + 32;
      }
      block.superScale = scaleCode(d);
    };
  }),
};
