/** What holds for every quantization method, under every scheme. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { InputError } from "../../src/errors.js";
import { type NumberFormat, type Scheme, scheme, schemes } from "../../src/formats/index.js";
import { createBackend, productsOn } from "../../src/kernels/index.js";
import { readOptions } from "../../src/options.js";
import { methods, type QuantizationMethod, readRecipe, transforms } from "../../src/quantize/index.js";
import { StatisticsSum } from "../../src/quantize/statistics.js";
import { isFold, type TransformOutcome } from "../../src/quantize/transform.js";
import { randomUniform } from "../../src/random.js";
import { dequantize, quantize, sliceRows } from "../../src/tensor/index.js";

const FAMILIES = ["int4-g32", "int8-row", "int3-g64", "int2-g16", "int4-g64-asym", "e2m1-g32", "e4m3fn-g128"];
/** Methods choose scales row by row; where rows share them grids refuse by name (schemes-tiles.test.ts). */
const all = [...schemes.entries, ...FAMILIES.map(scheme)].filter(({ scale }) => scale?.rows === undefined);
const COLUMNS = 256;
const ROWS = 8;

const normal = (stream: number, i: number) => {
  const [u, v] = [randomUniform(11, stream, 2 * i), randomUniform(11, stream, 2 * i + 1)];
  return Math.sqrt(-2 * Math.log(u + 2 ** -33)) * Math.cos(2 * Math.PI * v);
};
const weights = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => 0.05 * normal(1, i));

/** Inputs whose channels are correlated (12 hidden causes and noise) and of very different strength, as in real models. */
function inputs(stream: number, tokens: number): Float32Array {
  const x = new Float32Array(tokens * COLUMNS);
  for (let t = 0; t < tokens; t++) {
    const causes = Array.from({ length: 12 }, (_, k) => normal(stream, t * 300 + k));
    for (let j = 0; j < COLUMNS; j++) {
      const strength = 0.2 + (j % 17 === 0 ? 5 : 0) + (j % 5) / 3;
      x[t * COLUMNS + j] = strength * (causes[j % 12] + causes[(j * 7) % 12] + 0.5 * normal(stream, t * 300 + 20 + j));
    }
  }
  return x;
}

const reference = await createBackend("reference");
function statisticsOf(stream: number) {
  const sum = new StatisticsSum(reference.sumMoments(COLUMNS, true));
  sum.add(reference.upload(inputs(stream, 512)), 512);
  return sum.result();
}
const calibration = statisticsOf(2);
const heldOut = statisticsOf(3);

const backend = await createBackend("wasm");
after(() => backend.dispose());
const products = productsOn(backend);

const defaults = (method: QuantizationMethod) => readOptions(method.options, {}, method.name);
const jobOf = (s: Scheme, values: Float32Array) => ({
  scheme: s,
  values,
  shape: [ROWS, values.length / ROWS],
  statistics: calibration,
  seed: 0,
  products,
});
/** The defaults, but few iterations: what is tested holds after each of them. */
function settings(method: QuantizationMethod) {
  const { iterations } = method.options;
  return readOptions(method.options, iterations?.kind === "integer" ? { iterations: 50 } : {}, method.name);
}
const run = (method: QuantizationMethod, s: Scheme, values: Float32Array) =>
  dequantize(method.quantize(jobOf(s, values), settings(method)).packed);

test("every method names its source and gives the same values twice, in every scheme", () => {
  for (const method of methods.entries) {
    assert.ok(method.source.length > 10 && method.summary.length > 10, method.name);
    for (const s of all) assert.deepEqual(run(method, s, weights), run(method, s, weights), `${method.name} ${s.name}`);
  }
});

test("what the scheme's own rule returns unchanged, every method that is free in its scales returns unchanged", () => {
  const unsigned = (values: Float32Array) => values.map((x) => (x === 0 ? 0 : x));
  for (const s of all) {
    let values: Float32Array = weights;
    for (let i = 0; i < 4; i++) values = unsigned(dequantize(quantize(values, [ROWS, COLUMNS], s)));
    const again = unsigned(dequantize(quantize(values, [ROWS, COLUMNS], s)));
    if (again.some((x, i) => x !== values[i])) continue;
    for (const method of methods.entries) {
      if (method.constrainsScales) continue;
      assert.deepEqual(unsigned(run(method, s, values)), values, `${method.name} ${s.name}`);
    }
  }
});

const wide = (format: NumberFormat | undefined) => format !== undefined && format.bits >= 16;

/**
 * Where a method must get below round to nearest by its own measure. One that knows how inputs are correlated always finds
 * better levels. Searched scales gain where scales are finer than powers of two and the scheme's rule has not searched
 * already, HQQ's among them. Clipping gains where steps are coarse.
 */
function mustImprove(method: QuantizationMethod, { name, element, scale }: Scheme): boolean {
  if (!scale || method.name === "rtn") return false;
  if (method.name === "clip") return element.kind === "integer" && element.bits <= 3 && wide(scale.format);
  if (method.needs(settings(method)) === "hessian") return true;
  return scale.format.name !== "e8m0" && name !== "nvfp4-mse";
}

test("every method's own objective is no larger than round to nearest leaves it, on inputs it has not seen, and smaller where scales are free", () => {
  for (const method of methods.entries) {
    const cost = method.objective(settings(method));
    for (const s of all) {
      const job = { ...jobOf(s, weights), statistics: heldOut };
      const [mine, rtn] = [cost(job, run(method, s, weights)), cost(job, run(methods.get("rtn"), s, weights))];
      assert.ok(mine <= rtn * (1 + 1e-9), `${method.name} ${s.name}: ${mine} against ${rtn}`);
      if (mustImprove(method, s)) assert.ok(mine < rtn, `${method.name} does not improve ${s.name}`);
    }
  }
});

test("a method that takes rows one by one gives blocks of rows the bytes that they have among all", () => {
  for (const method of methods.entries.filter(({ rowwise }) => rowwise)) {
    for (const s of all.filter(({ scale, offset }) => ![scale, offset].some((x) => x?.super?.per === "tensor"))) {
      const whole = method.quantize(jobOf(s, weights), defaults(method)).packed;
      const [rows, half] = [ROWS / 2, weights.length / 2];
      const lower = { ...jobOf(s, weights), values: weights.subarray(half), shape: [rows, COLUMNS] };
      const { planes } = method.quantize(lower, defaults(method)).packed;
      assert.deepEqual(planes, sliceRows(whole, rows, ROWS).planes, `${method.name} ${s.name}`);
    }
  }
});

test("a method without the statistics it would like still quantizes", () => {
  for (const method of methods.entries) {
    const job = { ...jobOf(scheme("q4_0"), weights), statistics: undefined };
    assert.equal(dequantize(method.quantize(job, defaults(method)).packed).length, weights.length);
  }
});

test("the default of every option is in its own range, and a wrong name or value is an input error", () => {
  for (const method of methods.entries) {
    readOptions(method.options, defaults(method), method.name);
    assert.throws(() => readOptions(method.options, { nosuch: 1 }, method.name), InputError);
    for (const [name, option] of Object.entries(method.options)) {
      const wrong = option.kind === "choice" || option.kind === "switch" ? "wrong" : Number.NaN;
      assert.throws(() => readOptions(method.options, { [name]: wrong }, method.name), InputError);
    }
  }
});

test("every transform that looks at data chooses positive finite scales, the same twice, and none at all where nothing is lost", () => {
  for (const transform of transforms.entries) {
    assert.ok(transform.source.length > 10 && transform.summary.length > 10, transform.name);
    if (isFold(transform)) continue;
    const options = readOptions(transform.options, {}, transform.name) as never;
    const jobFor = (name: string) => {
      const shape = [ROWS, COLUMNS];
      const rounded = (values: Float32Array) => dequantize(quantize(values, shape, scheme(name)));
      const h = calibration.meanSquare;
      const outputError = (e: Float32Array) => e.reduce((sum, x, i) => sum + h[i % COLUMNS] * x * x, 0);
      // Of an input rounded with one step for all channels, as if errors were independent.
      const roundingError = ({ scales }: { scales: Float64Array }) => {
        const step = calibration.maxAbsolute.reduce((most, x, j) => Math.max(most, x / scales[j]), 0) / 127;
        return weights.reduce((sum, w, i) => sum + (w * scales[i % COLUMNS]) ** 2, 0) * step * step;
      };
      const consumers = [{ role: "x", values: weights, shape, rounded }];
      return { consumers, statistics: calibration, canShift: false, outputError, roundingError };
    };
    const first = transform.choose(jobFor("int3-g64"), options);
    assert.ok(first, transform.name);
    assert.ok(
      first.scales.every((s) => s > 0 && Number.isFinite(s)),
      transform.name,
    );
    assert.equal(first.scales.length, COLUMNS);
    assert.deepEqual(transform.choose(jobFor("int3-g64"), options), first);
    const ratio = first.notes?.errorRatio;
    assert.ok(ratio === undefined || ratio < 1, `${transform.name}: ${ratio}`);
  }
  const awq = transforms.get("awq");
  if (isFold(awq)) return assert.fail("AWQ looks at data");
  const exact = { ...readOptions(awq.options, {}, "awq") } as never;
  const rounded = (values: Float32Array) => values.slice();
  const consumers = [{ role: "x", values: weights, shape: [ROWS, COLUMNS], rounded }];
  assert.equal(
    awq.choose(
      { consumers, statistics: calibration, canShift: false, outputError: () => 0, roundingError: () => 0 },
      exact,
    ),
    undefined,
  );
});

/** X' and W' rounded, one static step for the whole input: what is left of the outputs of `x`, squared. */
function errorOfRounded(x: Float32Array, { scales, shift }: TransformOutcome, w: Scheme, bits: number): number {
  const at = (values: Float32Array, change: (v: number, j: number) => number) =>
    values.map((v, i) => change(v, i % COLUMNS));
  const changed = at(x, (v, j) => (v - (shift?.[j] ?? 0)) / scales[j]);
  const seen = at(calibration.sample as Float32Array, (v, j) => (v - (shift?.[j] ?? 0)) / scales[j]);
  const step = seen.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / (2 ** (bits - 1) - 1);
  const rounded = changed.map(
    (v) => step * Math.max(-(2 ** (bits - 1)), Math.min(2 ** (bits - 1) - 1, Math.round(v / step))),
  );
  const scaled = at(weights, (v, j) => v * scales[j]);
  const [got, wanted] = [
    products.multiply(rounded, dequantize(quantize(scaled, [ROWS, COLUMNS], w)), COLUMNS),
    products.multiply(changed, scaled, COLUMNS),
  ];
  return got.reduce((sum, y, i) => sum + (y - wanted[i]) ** 2, 0);
}

test("on inputs that it has not seen, every transform that looks at data leaves less error of rounded outputs than nothing does, or does nothing", () => {
  const unseen = inputs(3, 128);
  const none = { scales: new Float64Array(COLUMNS).fill(1) };
  for (const transform of transforms.entries) {
    if (isFold(transform)) continue;
    // AWQ is for weights of few bits, the others are for inputs.
    const [bits, w] = transform.name === "awq" ? [16, schemes.get("int3-g64")] : [6, schemes.get("int8-row")];
    const rounded = (values: Float32Array) => dequantize(quantize(values, [ROWS, COLUMNS], w));
    const h = Float32Array.from(calibration.hessian as Float64Array);
    const job = {
      consumers: [{ role: "x", values: weights, shape: [ROWS, COLUMNS], rounded }],
      statistics: calibration,
      canShift: true,
      outputError: (e: Float32Array) => {
        const product = products.multiply(e, h, COLUMNS);
        return e.reduce((sum, v, i) => sum + v * product[i], 0);
      },
      roundingError: (one: TransformOutcome) => errorOfRounded(calibration.sample as Float32Array, one, w, bits),
    };
    const found = transform.choose(job, readOptions(transform.options, {}, transform.name) as never) ?? none;
    const [mine, plain] = [errorOfRounded(unseen, found, w, bits), errorOfRounded(unseen, none, w, bits)];
    assert.ok(mine < plain || found === none, `${transform.name}: ${mine} against ${plain}`);
  }
});

test("a recipe that names something unknown, or has a key too many, is one input error", () => {
  const step = { quantize: "rtn", scheme: "q4_0" };
  const wrong: readonly unknown[] = [
    {},
    { recipe: 2, steps: [step] },
    { recipe: 1, steps: [] },
    { recipe: 1, steps: [{ ...step, quantize: "nosuch" }] },
    { recipe: 1, steps: [{ ...step, scheme: "q9_9" }] },
    { recipe: 1, steps: [{ ...step, tensors: "(" }] },
    { recipe: 1, steps: [{ ...step, options: { nosuch: 1 } }] },
    { recipe: 1, steps: [{ ...step, scale: 1 }] },
    { recipe: 1, steps: [{ transform: "nosuch" }, step] },
    { recipe: 1, steps: [step], calibration: { windows: 0 } },
    { recipe: 1, steps: [step], seed: -1 },
    { recipe: 1, steps: [step], extra: true },
  ];
  for (const one of wrong) assert.throws(() => readRecipe(one), InputError, JSON.stringify(one));
  const { json } = readRecipe({ recipe: 1, steps: [step] });
  assert.deepEqual(readRecipe(json).json, json, "a recipe with its defaults written out means the same");
});
