/** What holds for every activation method, and what each promises. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { InputError } from "../../errors.js";
import { decodeTable, scheme } from "../../formats/index.js";
import { createBackend } from "../../kernels/index.js";
import { stepKinds } from "../../models/index.js";
import { readOptions } from "../../options.js";
import { randomUniform } from "../../random.js";
import { dequantize, quantize } from "../../tensor/index.js";
import { readRecipe } from "../read-recipe.js";
import { StatisticsSum } from "../statistics.js";
import type { ActivationMethod, ActivationOutcome } from "./activation.js";
import { activationMethods } from "./index.js";

const [COLUMNS, TOKENS] = [48, 300];
const backend = await createBackend("reference");
after(() => backend.dispose());

/** Tokens whose channels differ by powers of two, with two channels of outliers. */
function inputs(stream: number): Float32Array {
  return Float32Array.from({ length: TOKENS * COLUMNS }, (_, i) => {
    const j = i % COLUMNS;
    const bell = [0, 1, 2].reduce((sum, k) => sum + randomUniform(3, stream, 3 * i + k) - 0.5, 0);
    return bell * (j === 7 || j === 30 ? 40 : 2 ** (j % 4));
  });
}
const [seen, heldOut] = [inputs(1), inputs(2)];
const statistics = (() => {
  const sum = new StatisticsSum(backend.sumMoments(COLUMNS, false));
  sum.add(backend.upload(seen), TOKENS);
  return sum.result();
})();

function chosen(name: string, schemeName: string, given: Readonly<Record<string, unknown>> = {}): ActivationOutcome {
  const method = activationMethods.get(name);
  const options = readOptions(method.options, given, name) as never;
  return method.choose({ scheme: scheme(schemeName), columns: COLUMNS, statistics }, options);
}

/** What weights meet in place of x: steps, scaled back, and channels apart as they are. */
function rounded({ input, scales, apart = [] }: ActivationOutcome, x: Float32Array): Float32Array {
  const buffer = backend.upload(x.map((v, i) => (apart.includes(i % COLUMNS) ? 0 : v)));
  for (const record of input) {
    const step = stepKinds.get(record.kind).prepare(backend, record, { role: "test", columns: COLUMNS });
    step.run(buffer, buffer, TOKENS);
    step.dispose();
  }
  return buffer.data().map((v, i) => (apart.includes(i % COLUMNS) ? x[i] : v * (scales?.[i % COLUMNS] ?? 1)));
}
const errorOf = (outcome: ActivationOutcome) =>
  rounded(outcome, heldOut).reduce((sum, v, i) => sum + (v - heldOut[i]) ** 2, 0);

const schemeFor = ({ name }: ActivationMethod) => (name === "llm-fp4" ? "e2m1-row" : "int8-row");

test("every activation method names its source, decides the same twice, and errs less on held-out tokens than a static range of the maximum", () => {
  for (const method of activationMethods.entries) {
    const name = schemeFor(method);
    assert.ok(method.source.length > 10 && method.summary.length > 10, method.name);
    assert.deepEqual(chosen(method.name, name), chosen(method.name, name));
    const [mine, most] = [errorOf(chosen(method.name, name)), errorOf(chosen("static", name, { range: "max" }))];
    assert.ok(mine < most * (method.name === "static" ? 1 + 1e-9 : 1), `${method.name}: ${mine} against ${most}`);
  }
});

test("dynamic rounding is what the scheme makes of each token, so what lies in it already stays", () => {
  for (const name of ["int8-row", "e4m3fn-row", "mxfp8", "int4-g16"]) {
    const once = rounded(chosen("dynamic", name), heldOut);
    for (let t = 0; t < TOKENS; t++) {
      const row = heldOut.slice(t * COLUMNS, (t + 1) * COLUMNS);
      assert.deepEqual(once.slice(t * COLUMNS, (t + 1) * COLUMNS), dequantize(quantize(row, [COLUMNS], scheme(name))));
    }
  }
});

test("inputs that lie on a grid which the method can choose are left exactly as they are, those of tokens not seen too", () => {
  for (const method of activationMethods.entries) {
    const { element } = scheme(schemeFor(method));
    // One scale for all tokens: every token holds the largest value, and no number is an outlier of its token.
    const levels = [...new Set(decodeTable(element))].filter((v) => Number.isFinite(v)).sort((a, b) => a - b);
    const onGrid = (stream: number) =>
      Float32Array.from({ length: TOKENS * COLUMNS }, (_, i) => {
        const most = levels[levels.length - 1];
        if (i % COLUMNS === stream) return most / 8;
        const level = levels[Math.floor(randomUniform(4, stream, i) * levels.length)];
        return Math.max(-most, level) / 8;
      });
    const sum = new StatisticsSum(backend.sumMoments(COLUMNS, false));
    sum.add(backend.upload(onGrid(1)), TOKENS);
    const options = readOptions(method.options, {}, method.name) as never;
    const given = { scheme: scheme(schemeFor(method)), columns: COLUMNS, statistics: sum.result() };
    const unseen = onGrid(2);
    assert.deepEqual(rounded(method.choose(given, options), unseen), unseen, method.name);
  }
});

test("static ranges: scales for each channel err less than one, least squares no more than a percentile or the maximum on what was seen", () => {
  const onSeen = (given: Readonly<Record<string, unknown>>) =>
    rounded(chosen("static", "int4-row", given), seen).reduce((sum, v, i) => sum + (v - seen[i]) ** 2, 0);
  for (const per of ["tensor", "channel"]) {
    const [mse, max, percentile] = ["mse", "max", "percentile"].map((range) => onSeen({ range, per, steps: 400 }));
    assert.ok(mse <= max, `${per}: ${mse}, ${max}`);
    assert.ok(mse <= percentile * 1.02, `${per}: ${mse}, ${percentile}: ranges are tried in steps of 0.2 %`);
  }
  assert.ok(onSeen({ per: "channel" }) < onSeen({ per: "tensor" }));
});

test("a static range of the maximum holds all tokens, also those that are not in the sample", () => {
  const [tokens, columns] = [4000, 4];
  const x = Float32Array.from({ length: tokens * columns }, (_, i) => randomUniform(5, 0, i) - 0.5);
  const sum = new StatisticsSum(backend.sumMoments(columns, false));
  sum.add(backend.upload(x), tokens);
  const kept = sum.result().sample as Float32Array;
  const missed = x.findIndex((_, i) => i % columns === 0 && !kept.includes(x[i]));
  x[missed] = 100;
  const again = new StatisticsSum(backend.sumMoments(columns, false));
  again.add(backend.upload(x), tokens);
  for (const per of ["tensor", "channel"]) {
    const options = readOptions(activationMethods.get("static").options, { range: "max", per }, "static") as never;
    const job = { scheme: scheme("int8-row"), columns, statistics: again.result() };
    const [step] = activationMethods.get("static").choose(job, options).input;
    assert.equal((step.scales as number[])[0], Math.fround(100 / 127), per);
  }
});

test("LLM.int8 keeps channels that often hold outliers apart, exactly, and no more than allowed; a token's own outliers stay", () => {
  const { apart, notes } = chosen("llm-int8", "int8-row", { threshold: 2, often: 0.3 });
  assert.deepEqual([apart, notes?.outlierChannels], [[7, 30], 2]);
  const found = rounded(chosen("llm-int8", "int8-row", { threshold: 2, often: 0.3 }), heldOut);
  for (const j of [7, 30]) assert.equal(found[5 * COLUMNS + j], heldOut[5 * COLUMNS + j]);
  const few = chosen("llm-int8", "int8-row", { threshold: 1, often: 0, most: 0.05 });
  assert.deepEqual([few.apart, few.notes?.channelsApart], [[7, 30], 2]);
  const rare = chosen("llm-int8", "int8-row", { threshold: 2, often: 1 });
  assert.deepEqual([rare.apart, rare.notes?.outlierShare], [[], notes?.outlierShare]);
  const [own, none] = [errorOf(rare), errorOf(chosen("dynamic", "int8-row"))];
  assert.ok(own < none / 2, `${own} against ${none} where all numbers are rounded`);
  assert.deepEqual(chosen("dynamic", "int8-row", { outliers: 2 }).input, rare.input, "the same without calibration");
  const table = activationMethods
    .get("llm-int8")
    .choose(
      { scheme: scheme("int8-row"), columns: COLUMNS, statistics, isTable: true },
      readOptions(activationMethods.get("llm-int8").options, {}, "llm-int8") as never,
    );
  assert.equal(table.apart, undefined, "a table that rows are looked up in stays whole");
});

test("LLM-FP4: exponent biases are powers of two that the weights take over, and each search lowers the error", () => {
  const { scales } = chosen("llm-fp4", "e2m1-row");
  assert.ok(scales?.every((s) => Number.isInteger(Math.log2(s))));
  const plain = errorOf(chosen("llm-fp4", "e2m1-row", { split: false, preShift: false }));
  assert.ok(errorOf(chosen("llm-fp4", "e2m1-row", { split: false })) < plain);
  assert.ok(errorOf(chosen("llm-fp4", "e2m1-row", { preShift: false })) <= plain * (1 + 1e-9));
});

test("a recipe with an activation step that cannot be is refused before work starts", () => {
  const quantizeStep = { quantize: "rtn", scheme: "int8-row" };
  const read = (step: Record<string, unknown>) => () => readRecipe({ recipe: 1, steps: [quantizeStep, step] });
  assert.throws(read({ activations: "dynamics", scheme: "int8-row" }), InputError);
  assert.throws(read({ activations: "static", scheme: "mxfp8" }), /more than one scale for a row|cannot be rounded/);
  assert.throws(read({ activations: "llm-fp4", scheme: "int8-row" }), InputError);
  assert.throws(read({ activations: "llm-int8", scheme: "int8-row", options: { threshold: -1 } }), InputError);
  assert.throws(read({ activations: "dynamic" }), InputError);
  assert.throws(read({ compensate: "lorc", options: { rank: 0 } }), InputError);
  const { json, needs } = read({ activations: "llm-int8", scheme: "int8-row" })();
  assert.equal(needs, "moments");
  assert.deepEqual(readRecipe(json).json, json, "with all defaults it reads the same");
});
