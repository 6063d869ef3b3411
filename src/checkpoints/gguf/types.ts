/**
 * The tensor types of GGUF, one record each. A row of a tensor is cut into blocks of `blockElements`, each stored in
 * `blockBytes`; a type with a scheme and a layout (layouts.ts) is read, and written where `writable` says so. The others
 * are listed so that their sizes can be checked and their names said.
 * Source: ggml include/ggml.h, `enum ggml_type`, and src/ggml-common.h; file types: llama.cpp include/llama.h, `llama_ftype`.
 */

import type { BlockLayout } from "./blocks.js";
import * as layouts from "./layouts.js";

export interface GgufTensorType {
  readonly id: number;
  readonly name: string;
  readonly blockElements: number;
  readonly blockBytes: number;
  /** The scheme whose planes hold the same numbers. */
  readonly scheme?: string;
  readonly layout?: BlockLayout;
  readonly writable?: boolean;
  /** What `general.file_type` may say when most weights are of this type; the first is written. */
  readonly fileTypes?: readonly number[];
}

export const TENSOR_TYPES: readonly GgufTensorType[] = [
  {
    id: 0,
    name: "F32",
    blockElements: 1,
    blockBytes: 4,
    scheme: "f32",
    layout: layouts.f32,
    writable: true,
    fileTypes: [0],
  },
  {
    id: 1,
    name: "F16",
    blockElements: 1,
    blockBytes: 2,
    scheme: "f16",
    layout: layouts.f16,
    writable: true,
    fileTypes: [1],
  },
  {
    id: 2,
    name: "Q4_0",
    blockElements: 32,
    blockBytes: 18,
    scheme: "q4_0",
    layout: layouts.q4_0,
    writable: true,
    fileTypes: [2],
  },
  {
    id: 3,
    name: "Q4_1",
    blockElements: 32,
    blockBytes: 20,
    scheme: "q4_1",
    layout: layouts.q4_1,
    writable: true,
    fileTypes: [3, 4],
  },
  {
    id: 6,
    name: "Q5_0",
    blockElements: 32,
    blockBytes: 22,
    scheme: "q5_0",
    layout: layouts.q5_0,
    writable: true,
    fileTypes: [8],
  },
  {
    id: 7,
    name: "Q5_1",
    blockElements: 32,
    blockBytes: 24,
    scheme: "q5_1",
    layout: layouts.q5_1,
    writable: true,
    fileTypes: [9],
  },
  {
    id: 8,
    name: "Q8_0",
    blockElements: 32,
    blockBytes: 34,
    scheme: "q8_0",
    layout: layouts.q8_0,
    writable: true,
    fileTypes: [7],
  },
  { id: 9, name: "Q8_1", blockElements: 32, blockBytes: 36 },
  {
    id: 10,
    name: "Q2_K",
    blockElements: 256,
    blockBytes: 84,
    scheme: "q2_k",
    layout: layouts.q2_k,
    writable: true,
    fileTypes: [10, 21],
  },
  {
    id: 11,
    name: "Q3_K",
    blockElements: 256,
    blockBytes: 110,
    scheme: "q3_k",
    layout: layouts.q3_k,
    writable: true,
    fileTypes: [12, 11, 13],
  },
  {
    id: 12,
    name: "Q4_K",
    blockElements: 256,
    blockBytes: 144,
    scheme: "q4_k",
    layout: layouts.q4_k,
    writable: true,
    fileTypes: [15, 14],
  },
  {
    id: 13,
    name: "Q5_K",
    blockElements: 256,
    blockBytes: 176,
    scheme: "q5_k",
    layout: layouts.q5_k,
    writable: true,
    fileTypes: [17, 16],
  },
  {
    id: 14,
    name: "Q6_K",
    blockElements: 256,
    blockBytes: 210,
    scheme: "q6_k",
    layout: layouts.q6_k,
    writable: true,
    fileTypes: [18],
  },
  { id: 15, name: "Q8_K", blockElements: 256, blockBytes: 292 },
  { id: 16, name: "IQ2_XXS", blockElements: 256, blockBytes: 66, fileTypes: [19] },
  { id: 17, name: "IQ2_XS", blockElements: 256, blockBytes: 74, fileTypes: [20] },
  { id: 18, name: "IQ3_XXS", blockElements: 256, blockBytes: 98, fileTypes: [23] },
  { id: 19, name: "IQ1_S", blockElements: 256, blockBytes: 50, fileTypes: [24] },
  {
    id: 20,
    name: "IQ4_NL",
    blockElements: 32,
    blockBytes: 18,
    scheme: "iq4_nl",
    layout: layouts.iq4_nl,
    writable: true,
    fileTypes: [25],
  },
  { id: 21, name: "IQ3_S", blockElements: 256, blockBytes: 110, fileTypes: [26, 27] },
  { id: 22, name: "IQ2_S", blockElements: 256, blockBytes: 82, fileTypes: [28, 29] },
  {
    id: 23,
    name: "IQ4_XS",
    blockElements: 256,
    blockBytes: 136,
    scheme: "iq4_xs",
    layout: layouts.iq4_xs,
    writable: true,
    fileTypes: [30],
  },
  { id: 24, name: "I8", blockElements: 1, blockBytes: 1 },
  { id: 25, name: "I16", blockElements: 1, blockBytes: 2 },
  { id: 26, name: "I32", blockElements: 1, blockBytes: 4 },
  { id: 27, name: "I64", blockElements: 1, blockBytes: 8 },
  { id: 28, name: "F64", blockElements: 1, blockBytes: 8 },
  { id: 29, name: "IQ1_M", blockElements: 256, blockBytes: 56, fileTypes: [31] },
  {
    id: 30,
    name: "BF16",
    blockElements: 1,
    blockBytes: 2,
    scheme: "bf16",
    layout: layouts.bf16,
    writable: true,
    fileTypes: [32],
  },
  {
    id: 34,
    name: "TQ1_0",
    blockElements: 256,
    blockBytes: 54,
    scheme: "tq1_0",
    layout: layouts.tq1_0,
    writable: true,
    fileTypes: [36],
  },
  {
    id: 35,
    name: "TQ2_0",
    blockElements: 256,
    blockBytes: 66,
    scheme: "tq2_0",
    layout: layouts.tq2_0,
    writable: true,
    fileTypes: [37],
  },
  {
    id: 39,
    name: "MXFP4",
    blockElements: 32,
    blockBytes: 17,
    scheme: "mxfp4",
    layout: layouts.mxfp4,
    writable: true,
    fileTypes: [38],
  },
  { id: 40, name: "NVFP4", blockElements: 64, blockBytes: 36, scheme: "nvfp4", layout: layouts.nvfp4, fileTypes: [39] },
  { id: 41, name: "Q1_0", blockElements: 128, blockBytes: 18, fileTypes: [40] },
  { id: 42, name: "Q2_0", blockElements: 64, blockBytes: 18 },
];

const byId = new Map(TENSOR_TYPES.map((type) => [type.id, type]));
const byName = new Map(TENSOR_TYPES.map((type) => [type.name, type]));
const byScheme = new Map(TENSOR_TYPES.filter((type) => type.scheme).map((type) => [type.scheme, type]));

export const tensorTypeOfId = (id: number): GgufTensorType | undefined => byId.get(id);
export const tensorTypeNamed = (name: string): GgufTensorType | undefined => byName.get(name);
export const tensorTypeOfScheme = (scheme: string): GgufTensorType | undefined => byScheme.get(scheme);
