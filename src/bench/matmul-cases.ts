/** The products that `bitloom bench kernels` times: data, one line for each. */
import type { Activations } from "../kernels/backend.js";

export interface MatmulCase {
  readonly scheme: string;
  readonly rows: number;
  readonly columns: number;
  /** Rows of activations: 1 decodes (GEMV), more read a prompt (GEMM). */
  readonly batch: number;
  readonly activations: Activations;
}

/** Codes of 5 to 16 bits, and a few of 4. */
const schemes = ["f32", "bf16", "f16", "q8_0", "mxfp8", "q6_k", "q5_1", "q4_0", "q4_1", "mxfp4", "nvfp4", "int2-g32"];
/** What int8 activations take as they are: 8 bits, 4 bits of several kinds, and fewer. */
const integers = ["q8_0", "int8-row", "q4_0", "int4-g128", "q4_1", "mxfp4", "nvfp4", "int2-g32"];
const few = ["int2-g128", "ternary-g128", "binary-g128"];

function products(activations: Activations, names: readonly string[], [batch, rows, columns]: readonly number[]) {
  return names.map((scheme): MatmulCase => ({ scheme, rows, columns, batch, activations }));
}

/** A matrix within the caches, some of about 500 MB, and a prompt. */
export const matmulCases: readonly MatmulCase[] = [
  ...products("int8", [...integers, ...few], [1, 4096, 4096]),
  ...products("int8-rounded", ["nf4-g64", "mxfp8"], [1, 4096, 4096]),
  ...products("int4", ["binary-g128"], [1, 4096, 4096]),
  ...products("int2", few, [1, 4096, 4096]),
  ...products("int1", few, [1, 4096, 4096]),
  ...products("f32", [...schemes, "mxfp8-e5m2", "nf4-g64"], [1, 4096, 4096]),
  ...products("int8", ["q4_0", "int4-g128", "mxfp4", "nvfp4"], [1, 212992, 4096]),
  ...products("int8-rounded", ["nf4-g64"], [1, 212992, 4096]),
  ...products("int8", ["q8_0", "int8-row"], [1, 122880, 4096]),
  ...products("int8", ["int2-g32", ...few], [1, 212992, 4096]),
  ...products("int8-rounded", ["mxfp8", "mxfp8-e5m2", "e4m3fn-row"], [1, 122880, 4096]),
  ...products("f32", ["q8_0", "mxfp8", "mxfp8-e5m2"], [1, 122880, 4096]),
  ...products("f32", ["q4_0"], [1, 212992, 4096]),
  ...products("int8", [...integers, ...few], [128, 2048, 2048]),
  ...products("int8-rounded", ["nf4-g64", "mxfp8"], [128, 2048, 2048]),
  ...products("f32", schemes, [128, 2048, 2048]),
  ...products("f32", ["f32"], [512, 512, 512]),
];

/** Small shapes for a look in a few seconds. */
export const quickMatmulCases: readonly MatmulCase[] = [
  ...products("f32", schemes, [1, 1536, 576]),
  ...products("int8", integers, [1, 1536, 576]),
  ...products("f32", schemes, [128, 576, 576]),
  ...products("int8", integers, [128, 576, 576]),
];
