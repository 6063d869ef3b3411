/** Packed tensors: memory, rows, quantizing and dequantizing. */
export { codeArray, packCodes, rowBytes, unpackCodes } from "../formats/packing.js";
export {
  type BitLayout,
  bitLayouts,
  type CodeView,
  codeAt,
  codeView,
  sliceCodes,
} from "./bit-layouts.js";
export { dequantize } from "./dequantize.js";
export { type PackedTensor, PLANE_NAMES } from "./packed.js";
export { allocatePlanes, packedBytes, planeBytes } from "./planes.js";
export { quantize } from "./quantize.js";
export { gatherRows, sliceRows } from "./rows.js";
export { checkShape, columnsOf, elementCount, rowsOf } from "./shape.js";
