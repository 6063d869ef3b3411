/** Against the authors' implementation (golden/make_hqq.py), in its own form: a scale and a free minimum for each group. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type Scheme, scheme } from "../formats/index.js";
import { uint } from "../formats/integers.js";
import { minMaxRule } from "../formats/schemes/gguf.js";
import { readOptions } from "../options.js";
import { dequantize } from "../tensor/index.js";
import { methods } from "./methods.js";

type Errors = Readonly<Record<"p0.7" | "p1" | "p2", number>>;
interface Golden {
  readonly weights: readonly number[];
  readonly cases: readonly { bits: number; group: number; hqq: Errors; rule: Errors }[];
}

const golden = new URL("../../../src/quantize/golden/hqq.json", import.meta.url);
const { weights, cases } = JSON.parse(readFileSync(golden, "utf8")) as Golden;
const values = Float32Array.from(weights);
const shape = [6, 192];

/** w = s v + m with f16 s and m: q4_1 and q5_1 of other bits and groups. */
function withMinimum(bits: number, per: number): Scheme {
  const { scale, offset, ...q4_1 } = scheme("q4_1");
  if (!scale || !offset) throw new Error("q4_1 has a scale and a minimum");
  const quantize = minMaxRule(2 ** bits - 1);
  return { ...q4_1, element: uint(bits), scale: { ...scale, per }, offset: { ...offset, per }, quantize };
}

function errorsOf(name: string, s: Scheme, norms: readonly number[]): number[] {
  const method = methods.get(name);
  const options = readOptions(method.options, {}, name);
  const rounded = dequantize(method.quantize({ scheme: s, values, shape, seed: 0 }, options).packed);
  return norms.map((p) => values.reduce((sum, w, i) => sum + Math.abs(w - rounded[i]) ** p, 0));
}

test("at 2 to 5 bits HQQ's own objective, and its absolute and squared errors, are below those of the authors' solver", () => {
  for (const { bits, group, hqq, rule } of cases) {
    const mine = errorsOf("hqq", withMinimum(bits, group), [0.7, 1, 2]);
    for (const [i, norm] of (["p0.7", "p1", "p2"] as const).entries()) {
      assert.ok(hqq[norm] < rule[norm], "the authors' solver improves on minimum and maximum");
      assert.ok(mine[i] < hqq[norm], `${bits} bits for ${group}, ${norm}: ${mine[i]} against ${hqq[norm]}`);
    }
  }
});

test("with integer zero points or without any, HQQ leaves at 3 bits less absolute and squared error than the scheme's rule, and a smaller p-norm", () => {
  for (const name of ["int3-g64", "int3-g64-asym", "int4-g32", "e2m1-g32"]) {
    const [mine, rtn] = ["hqq", "rtn"].map((method) => errorsOf(method, scheme(name), [0.7, 1, 2]));
    mine.forEach((error, i) => {
      assert.ok(error < rtn[i], `${name}: ${error} against ${rtn[i]}`);
    });
  }
});
