import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FileError } from "../errors.js";
import { schemes } from "../formats/index.js";
import type { Backend } from "../kernels/backend.js";
import { backends, createBackend } from "../kernels/index.js";
import { dequantize, quantize } from "../tensor/index.js";
import { applyLinear, applyLinears, basisInput, makeLinears } from "./linear.js";
import { essentialRole, LINEARS_KEY, type LinearRecord, type LinearRecords, readLinears } from "./linear-records.js";
import { stepKinds } from "./steps/index.js";
import type { StepRecord } from "./steps/step.js";

const [ROWS, COLUMNS, BATCH, RANK] = [5, 64, 3, 2];
const made: Backend[] = [];
for (const { name } of backends.entries) made.push(await createBackend(name));
after(() => Promise.all(made.map((backend) => backend.dispose())));

const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) =>
    Math.fround(Math.sin(seed + i * (seed + 0.7)) * (i % 9 === 0 ? 8 : 1)),
  );
const F32 = schemes.get("f32");
const weights: Readonly<Record<string, Float32Array>> = {
  map: numbers(ROWS * COLUMNS, 1),
  "map.lowrank_a": numbers(ROWS * RANK, 2),
  "map.lowrank_b": numbers(RANK * COLUMNS, 3),
  "map.apart": numbers(ROWS * 2, 4),
};
const widths: Readonly<Record<string, number>> = {
  map: COLUMNS,
  "map.lowrank_a": RANK,
  "map.lowrank_b": COLUMNS,
  "map.apart": 2,
};
const bias = numbers(ROWS, 5);
const x = numbers(BATCH * COLUMNS, 6);

/** y of every backend, for the map that the records describe, and what calibration would see. */
function outcomes(records: LinearRecords): { y: Float32Array; basis: Float32Array }[] {
  return made.map((backend) => {
    const matrix = (role: string) => {
      const values = weights[role];
      return backend.loadMatrix(quantize(values, [values.length / widths[role], widths[role]], F32));
    };
    const held = backend.upload(bias);
    const linears = makeLinears({ backend, records, matrix, optionalVector: () => held });
    const [out, input] = [backend.allocate(BATCH * ROWS), backend.upload(x)];
    const linear = linears.linear("map");
    applyLinear(backend, out, input, linear, BATCH);
    const basis = basisInput(input, linear, BATCH).data().slice(0, x.length);
    assert.deepEqual(input.data(), x, "the input stays as it is");
    const y = out.data().slice();
    linears.dispose();
    return { y, basis };
  });
}

const product = (w: Float32Array, input: ArrayLike<number>, columns: number) =>
  Float64Array.from({ length: (input.length / columns) * (w.length / columns) }, (_, at) => {
    const rows = w.length / columns;
    const [m, n] = [Math.floor(at / rows), at % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += w[n * columns + k] * input[m * columns + k];
    return sum;
  });

test("a linear map is its matrix on the stepped input, plus bias, low-rank pair and columns apart, within f32 sums of 64 terms", () => {
  const apart = [3, 40];
  const factors = Array.from({ length: COLUMNS }, (_, j) => 2 ** (j % 3));
  const record: LinearRecord = {
    input: [
      { kind: "scale", factors },
      { kind: "round", scheme: "int8-row" },
    ],
    rank: RANK,
    apart,
  };
  const basis = x.map((v, i) => v * factors[i % COLUMNS]);
  const rest = basis.map((v, i) => (apart.includes(i % COLUMNS) ? 0 : v));
  const rounded = dequantize(quantize(rest, [BATCH, COLUMNS], schemes.get("int8-row")));
  const taken = Array.from({ length: BATCH * 2 }, (_, i) => basis[Math.floor(i / 2) * COLUMNS + apart[i % 2]]);
  const inner = product(weights["map.lowrank_b"], rounded, COLUMNS);
  const parts = [
    product(weights.map, rounded, COLUMNS),
    product(weights["map.lowrank_a"], inner, RANK),
    product(weights["map.apart"], taken, 2),
  ];
  const results = outcomes({ map: record });
  for (const { y, basis: seen } of results) {
    assert.deepEqual(seen, basis, "calibration sees the input after the essential steps, not rounded");
    y.forEach((got, i) => {
      const wanted = bias[i % ROWS] + parts[0][i] + parts[1][i] + parts[2][i];
      assert.ok(Math.abs(got - wanted) < 1e-3 * (1 + Math.abs(wanted)), `${i}: ${got}, wanted ${wanted}`);
    });
  }
  for (const { y } of results) assert.deepEqual(y, results[0].y, "backends agree bit for bit");
});

test("maps of one input whose records say the same step it once, and give the bits that each gives alone", () => {
  const steps: readonly StepRecord[] = [
    { kind: "scale", factors: Array.from({ length: COLUMNS }, (_, j) => 1 + (j % 3)) },
    { kind: "round", scheme: "int8-row" },
  ];
  const records: LinearRecords = {
    a: { input: steps, apart: [3, 40] },
    b: { input: structuredClone(steps), apart: [3, 40], rank: RANK },
    c: { input: steps },
  };
  for (const backend of made) {
    const matrix = (role: string) => {
      const name = role.replace(/^[abc]/, "map");
      return backend.loadMatrix(quantize(weights[name], [weights[name].length / widths[name], widths[name]], F32));
    };
    const linears = makeLinears({ backend, records, matrix, optionalVector: () => undefined });
    const [a, b, c] = ["a", "b", "c"].map((role) => linears.linear(role));
    assert.ok(a.entry === b.entry && a.entry !== c.entry);
    const input = backend.upload(x);
    const run = (...linears: readonly (typeof a)[]) => {
      const targets = linears.map((linear) => ({ out: backend.allocate(BATCH * ROWS), linear }));
      applyLinears(backend, input, targets, BATCH);
      return targets.map(({ out }) => out.data().slice());
    };
    const alone = [a, b, c].flatMap((linear) => run(linear));
    for (const linear of [a, b, c]) basisInput(input, linear, BATCH);
    assert.deepEqual(run(a, b, c), alone);
    assert.deepEqual(run(c, a, b), [alone[2], alone[0], alone[1]]);
    linears.dispose();
  }
});

test("a map without a record is its matrix and bias; static steps round as quantizing with that scale does", () => {
  const [plain] = outcomes({});
  const scale = 0.125;
  const [fixed] = outcomes({ map: { input: [{ kind: "static", format: "int8", scales: [scale] }] } });
  const rounded = x.map((v) => scale * Math.max(-128, Math.min(127, Math.round(v / scale))));
  const [wanted, exact] = [product(weights.map, rounded, COLUMNS), product(weights.map, x, COLUMNS)];
  fixed.y.forEach((got, i) => {
    assert.ok(Math.abs(got - bias[i % ROWS] - wanted[i]) < 1e-3 * (1 + Math.abs(wanted[i])));
    assert.ok(Math.abs(plain.y[i] - bias[i % ROWS] - exact[i]) < 1e-3 * (1 + Math.abs(exact[i])));
  });
});

test("numbers beyond a bound of root mean squares stay as they are, the rest is rounded as if they were 0, alike on all backends", () => {
  const bound = 2;
  const limits = Array.from({ length: BATCH }, (_, row) => {
    const squares = x.subarray(row * COLUMNS, (row + 1) * COLUMNS).reduce((sum, v) => sum + v * v, 0);
    return bound * Math.sqrt(squares / COLUMNS);
  });
  const isOutlier = (v: number, i: number) => Math.abs(v) > limits[Math.floor(i / COLUMNS)];
  const rest = dequantize(
    quantize(
      x.map((v, i) => (isOutlier(v, i) ? 0 : v)),
      [BATCH, COLUMNS],
      schemes.get("int8-row"),
    ),
  );
  const wanted = x.map((v, i) => (isOutlier(v, i) ? v : rest[i]));
  assert.ok(x.some(isOutlier), "the input has outliers");
  for (const backend of made) {
    const record = { kind: "round", scheme: "int8-row", beyond: bound };
    const step = stepKinds.get("round").prepare(backend, record, { role: "map", columns: COLUMNS });
    const [input, out] = [backend.upload(x), backend.allocate(x.length)];
    step.run(out, input, BATCH);
    assert.deepEqual([out.data(), input.data()], [wanted, x]);
    step.run(input, input, BATCH);
    assert.deepEqual(input.data(), wanted, "in place");
  }
});

test("damaged records and senseless steps are refused with the role and what was wanted", () => {
  const refused = (value: unknown) =>
    assert.throws(
      () => readLinears({ [LINEARS_KEY]: typeof value === "string" ? value : JSON.stringify(value) }, "f"),
      FileError,
    );
  for (const value of ["{", "[]", '"x"', { map: 1 }, { map: { rank: 0 } }, { map: { apart: [-1] } }]) refused(value);
  refused({ map: { input: [{ kind: "fly" }] } });
  refused({ map: { outliers: [1] } });
  assert.deepEqual(readLinears({}, "f"), {});
  const place = { role: "layers.0.query", columns: 4 };
  for (const step of [
    { kind: "round", scheme: "int99" },
    { kind: "round", scheme: "int8-row", beyond: 0 },
    { kind: "static", format: "int8", scales: [] },
    { kind: "static", format: "int8", scales: [1, -1, 1, 1] },
    { kind: "static", format: "nothing", scales: [1] },
    { kind: "scale", factors: [1, 2] },
  ]) {
    const prepare = () => stepKinds.get(step.kind).prepare(made[0], step as never, place);
    assert.throws(prepare, FileError, JSON.stringify(step));
  }
});

test("roundings may be left out by other programs; scales, pairs and columns apart may not", () => {
  assert.equal(essentialRole({ a: { input: [{ kind: "round", scheme: "int8-row" }] } }), undefined);
  assert.equal(essentialRole({ a: {}, b: { rank: 3 } }), "b");
  assert.equal(essentialRole({ a: { apart: [1] } }), "a");
  assert.equal(essentialRole({ a: { input: [{ kind: "scale", factors: [1] }] } }), "a");
});
