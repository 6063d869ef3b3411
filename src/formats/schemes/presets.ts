/**
 * The same block formats as different stacks compute them: NAME@STACK. A stack is reproduced byte for byte where the tests
 * hold its own output (`verified`); else it is built from its documented rule, and says so.
 */
import { e2m1 } from "../e2m1.js";
import { e2m3 } from "../e2m3.js";
import { e3m2 } from "../e3m2.js";
import { e4m3fn } from "../e4m3fn.js";
import { e5m2 } from "../e5m2.js";
import type { NumberFormat } from "../format.js";
import type { Scheme } from "../scheme.js";
import { iq4_nl } from "./iq4_nl.js";
import { iq4_xs } from "./iq4_xs.js";
import { type MxRule, mxScheme } from "./mx.js";
import { mxfp4 } from "./mxfp4.js";
import { type NvRule, nvScheme } from "./nv.js";
import { onnxScheme } from "./onnx.js";
import { q2_k } from "./q2_k.js";
import { q3_k } from "./q3_k.js";
import { q4_0 } from "./q4_0.js";
import { q4_1 } from "./q4_1.js";
import { q4_k } from "./q4_k.js";
import { q5_0 } from "./q5_0.js";
import { q5_1 } from "./q5_1.js";
import { q5_k } from "./q5_k.js";
import { q6_k } from "./q6_k.js";
import { q8_0 } from "./q8_0.js";
import { tq1_0 } from "./tq1_0.js";
import { tq2_0 } from "./tq2_0.js";

interface Preset {
  readonly stack: string;
  /** Where the rule is written down. */
  readonly source: string;
  /** True if golden bytes made by the stack itself are in the tests. */
  readonly verified: boolean;
  readonly mx?: { readonly names: readonly MxName[]; readonly rule: MxRule };
  readonly nv?: NvRule;
  /** A few names, without the stack, of a family of integer blocks; others are made from their name. */
  readonly integers?: readonly string[];
  /** Schemes that the stack itself defined: with its name and without they are the same records. */
  readonly own?: readonly Scheme[];
}

export const MX_ELEMENTS = {
  mxfp4: e2m1,
  "mxfp6-e2m3": e2m3,
  "mxfp6-e3m2": e3m2,
  mxfp8: e4m3fn,
  "mxfp8-e5m2": e5m2,
} as const satisfies Record<string, NumberFormat>;
type MxName = keyof typeof MX_ELEMENTS;
const ALL = Object.keys(MX_ELEMENTS) as MxName[];

const ONNX = "ONNX Runtime 1.31, matmul_nbits_quantizer (DefaultWeightOnlyQuantizer, MatMulNBits)";

export const PRESETS: readonly Preset[] = [
  {
    stack: "ocp",
    source: "OCP Microscaling Formats (MX) 1.0, section 6.3, ties to even",
    verified: false,
    mx: { names: ALL, rule: {} },
  },
  {
    stack: "torchao",
    source: "torchao 0.18, to_mx (FLOOR) and nvfp4_quantize with a tensor scale",
    verified: true,
    mx: { names: ALL, rule: { normalDivisor: true } },
    nv: { order: "torchao" },
  },
  {
    stack: "torchao-ceil",
    source: "torchao 0.18, to_mx (CEIL)",
    verified: true,
    mx: { names: ALL, rule: { scale: "ceil", normalDivisor: true } },
  },
  {
    stack: "torchao-even",
    source: "torchao 0.18, to_mx (EVEN)",
    verified: true,
    mx: { names: ALL, rule: { scale: "even", normalDivisor: true } },
  },
  {
    stack: "torchao-rceil",
    source: "torchao 0.18, to_mx (RCEIL), eager",
    verified: true,
    mx: { names: ALL, rule: { scale: "round-up-f32-log", unitAtLeast: true } },
  },
  {
    stack: "compressed-tensors",
    source: "compressed-tensors 0.20, generate_mx_scales and calculate_qparams",
    verified: true,
    mx: { names: ["mxfp4", "mxfp8"], rule: { scale: "even-e2m1" } },
    nv: { order: "compressed-tensors" },
  },
  {
    stack: "auto-round",
    source: "auto-round 0.16, quant_mx and ref_nvfp4_quant",
    verified: true,
    mx: { names: ALL, rule: { scale: "floor-f32-log", zeroAmax: 2 } },
    nv: { order: "auto-round" },
  },
  {
    stack: "auto-round-rceil",
    source: "auto-round, round-up of amax / 7.25 (documented)",
    verified: false,
    mx: { names: ["mxfp4"], rule: { scale: "round-up-7.25" } },
  },
  {
    stack: "transformer-engine",
    source: "TransformerEngine, MXFP8 round-up of amax * (1 / max) (documented)",
    verified: false,
    mx: { names: ["mxfp8", "mxfp8-e5m2"], rule: { scale: "round-up-reciprocal" } },
  },
  {
    stack: "modelopt",
    source: "NVIDIA Model-Optimizer, NVFP4QTensor (documented)",
    verified: false,
    nv: { order: "modelopt" },
  },
  {
    stack: "mlx",
    source: "MLX after pull request 4353: scale rounded up (documented)",
    verified: false,
    mx: { names: ["mxfp4", "mxfp8"], rule: { scale: "round-up" } },
  },
  {
    stack: "mlx-2025",
    source: "MLX before pull request 4353: scale rounded in logarithms (documented)",
    verified: false,
    mx: { names: ["mxfp4", "mxfp8"], rule: { scale: "log-nearest" } },
  },
  {
    stack: "onnx",
    source: ONNX,
    verified: true,
    integers: ["int4-g32", "int4-g32-asym", "int4-g128-asym", "int8-g32", "int8-g64-asym"],
  },
  {
    stack: "gguf",
    source:
      "ggml, quantize_row_*_ref: the scheme by its plain name; golden bytes of q4_0, q4_1, q5_0, q5_1, q8_0 and mxfp4",
    verified: true,
    own: [q8_0, q6_k, q5_k, q4_k, q3_k, q2_k, q5_1, q5_0, q4_1, q4_0, iq4_nl, iq4_xs, tq2_0, tq1_0, mxfp4],
  },
  {
    stack: "mse",
    source: "least squared error of four neighbouring powers of two",
    verified: false,
    mx: { names: ALL, rule: { search: "square" } },
  },
  {
    stack: "mae",
    source: "least absolute error of four neighbouring powers of two",
    verified: false,
    mx: { names: ALL, rule: { search: "absolute" } },
  },
];

function mxPresets({ stack, source, mx }: Preset): Scheme[] {
  return (mx?.names ?? []).map((base) =>
    mxScheme({
      name: `${base}@${stack}`,
      element: MX_ELEMENTS[base],
      rule: mx?.rule,
      summary: `${base.toUpperCase()} as ${stack} computes it`,
      source,
    }),
  );
}

function nvPresets({ stack, source, nv }: Preset): Scheme[] {
  if (!nv) return [];
  return [
    nvScheme({ name: `nvfp4@${stack}`, element: e2m1, rule: nv, summary: `NVFP4 as ${stack} computes it`, source }),
  ];
}

function integerPresets({ source, integers = [] }: Preset): Scheme[] {
  return integers.flatMap((base) => onnxScheme(base, source) ?? []);
}

const byName = new Map([
  ...PRESETS.flatMap((preset) => [...mxPresets(preset), ...nvPresets(preset), ...integerPresets(preset)]).map(
    (made) => [made.name, made] as const,
  ),
  ...PRESETS.flatMap(({ stack, own = [] }) => own.map((s) => [`${s.name}@${stack}`, s] as const)),
]);

/** Every NAME@STACK; of families of integer blocks a few. */
export const presetNames: readonly string[] = [...byName.keys()];

export const derivePreset = (name: string): Scheme | undefined =>
  byName.get(name) ?? (name.endsWith("@onnx") ? onnxScheme(name.slice(0, -"@onnx".length), ONNX) : undefined);
