import { arrayEncoder, f32Encoder } from "../casts.js";
import { e2m1 } from "../e2m1.js";
import { e4m3fn } from "../e4m3fn.js";
import { f32 } from "../f32.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { amaxOf, byGroup } from "./groups.js";

const { fround, max, min } = Math;
const FLT_MAX = 3.4028234663852886e38;
const SIXTH = fround(1 / 6);

/** 1 / tensor scale: maps the tensor's amax to the largest block scale times the largest element. */
function globalScale(values: Float32Array): number {
  const amax = amaxOf(values, 0, values.length);
  return amax === 0 ? 1 : min(fround((448 * 6) / amax), FLT_MAX);
}

/** Block scales and codes in the f32 operation order of TransformerEngine's reference quantizer. */
const blocks: SchemeRule = byGroup((_scheme, values) => {
  const g = globalScale(values);
  const gSixth = fround(g * SIXTH);
  const tensorScale = fround(1 / g);
  const scaleValues = decodeTable(e4m3fn);
  const scaleCode = f32Encoder(e4m3fn, { overflow: "saturate" });
  const encodeElements = arrayEncoder(e2m1, { overflow: "saturate" });
  const scaled = new Float32Array(16);
  return (group) => {
    const { codes, start, end, at } = group;
    group.scale = scaleCode(fround(amaxOf(values, start, end) * gSixth));
    const inverse = min(fround(1 / fround(scaleValues[group.scale] * tensorScale)), FLT_MAX);
    // Beyond 6 only the sign matters, and f32 would overflow where a scale has underflowed.
    for (let i = start; i < end; i++) scaled[i - start] = max(-8, min(8, values[i] * inverse));
    encodeElements(scaled, 0, end - start, codes, at);
  };
});

/** w = (tensor scale * block scale) * e2m1. */
export const nvfp4: Scheme = {
  name: "nvfp4",
  summary: "NVFP4: e2m1, e4m3 scale for 16, f32 scale for the tensor",
  source: "NVIDIA NVFP4; TransformerEngine, reference_nvfp4.py",
  element: e2m1,
  scale: { format: e4m3fn, per: 16, super: { format: f32, per: "tensor" } },
  quantize: (scheme, values, rows, columns, planes) => {
    new DataView(planes.superScales!.buffer, planes.superScales!.byteOffset).setFloat32(
      0,
      fround(1 / globalScale(values)),
      true,
    );
    blocks(scheme, values, rows, columns, planes);
  },
};
