import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { containers } from "../../src/checkpoints/index.js";
import { klDivergence, logSumExp } from "../../src/evaluate/index.js";
import { schemes } from "../../src/formats/index.js";
import { argmax, openModel } from "../../src/models/index.js";
import { type QuantizeOptions, quantizeModel } from "../../src/quantize/index.js";
import { bothEngines } from "./both-engines.js";
import { missing } from "./llama-cpp.js";

const TEXT =
  "Call me Ishmael. Some years ago--never mind how long precisely--having little or no money in my purse, and nothing " +
  "particular to interest me on shore, I thought I would sail about a little and see the watery part of the world.";

/**
 * How far logits may be apart: the largest difference at a position over its largest logit, and the mean KL divergence
 * in nats. Bitloom multiplies activations as they are; llama.cpp rounds them to the type that its dot product wants,
 * which is all that the difference consists of. Measured with llama.cpp v0.5.0: less than half of these.
 */
interface Tolerance {
  readonly logits: number;
  readonly kl: number;
  readonly reason: string;
}
const EXACT: Tolerance = { logits: 1e-5, kl: 1e-9, reason: "both compute in f32, in another order of summation" };
const F16: Tolerance = { logits: 2e-3, kl: 1e-6, reason: "llama.cpp rounds activations to f16" };
const BF16: Tolerance = { logits: 1e-2, kl: 1e-4, reason: "llama.cpp rounds activations to bf16, which has 8 bits" };
const INT8: Tolerance = { logits: 3e-2, kl: 5e-4, reason: "llama.cpp rounds activations to int8 in blocks of 32" };
const LONG: Tolerance = { logits: 5e-2, kl: 2e-3, reason: "llama.cpp rounds activations to int8 in blocks of 256" };
const TERNARY: Tolerance = {
  logits: 0.2,
  kl: 2e-2,
  reason: `${LONG.reason}, which a model rounded to three values amplifies`,
};

function toleranceOf(scheme: string): Tolerance {
  const floats: Readonly<Record<string, Tolerance>> = { f32: EXACT, f16: F16, bf16: BF16 };
  if (scheme.startsWith("tq")) return TERNARY;
  return floats[scheme] ?? (/_(k|xs)$/.test(scheme) ? LONG : INT8);
}

const demo = fileURLToPath(new URL("../../../demo", import.meta.url));
const { folder, engines } = bothEngines(missing);
const written = schemes.entries.filter((scheme) => containers.get("gguf").canHold(scheme, [256, 256]) === true);

/** A GGUF file of the demo model in a scheme, open in both. */
async function both(scheme: string, options: Partial<QuantizeOptions> = {}) {
  const path = join(folder, `${scheme}.gguf`);
  await quantizeModel({ input: demo, output: path, scheme, ...options });
  return { theirs: await engines.llama.open(path), ours: await openModel(path, { backend: engines.backend }) };
}

test("GGUF takes at least the nine types that the project promises", () => {
  const names = written.map((scheme) => scheme.name);
  for (const name of ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4"]) {
    assert.ok(names.includes(name), `${name} is not among ${names.join(", ")}`);
  }
});

async function assertSameLogits(scheme: string, options?: Partial<QuantizeOptions>) {
  const { logits, kl } = toleranceOf(scheme);
  const { theirs, ours } = await both(scheme, options);
  const ids = ours.tokenizer.encode(TEXT);
  assert.deepEqual(theirs.tokenize(TEXT, false), ids);
  const expected = await theirs.logits(ids);
  const session = ours.session({ batch: ids.length });
  const got = session.forward(ids, "all");
  const width = got.length / ids.length;
  assert.deepEqual(
    expected.map((row) => row.length),
    ids.map(() => width),
  );
  let divergence = 0;
  for (const [position, row] of expected.entries()) {
    const own = got.subarray(position * width, (position + 1) * width);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = own.reduce((most, value, id) => Math.max(most, Math.abs(value - row[id])), 0);
    assert.ok(apart <= logits * largest, `position ${position}: ${apart} apart, the largest logit is ${largest}`);
    divergence += klDivergence(own, logSumExp(own), row, logSumExp(row)) / ids.length;
  }
  assert.ok(divergence <= kl, `the KL divergence is ${divergence}`);
  session.dispose();
  ours.dispose();
  await theirs.dispose();
}

for (const { name } of written) {
  const { logits, kl, reason } = toleranceOf(name);
  test(
    `${name}: llama.cpp's logits are within ${logits} of the largest and ${kl} nats (${reason})`,
    {
      skip: missing,
    },
    () => assertSameLogits(name),
  );
}

/** Scales, offsets and codes that no rule of the scheme has chosen. */
for (const name of ["q4_0", "iq4_nl", "q3_k", "q4_k", "q6_k"]) {
  const { logits, kl, reason } = toleranceOf(name);
  test(
    `${name} by gptq: llama.cpp's logits are within ${logits} of the largest and ${kl} nats (${reason})`,
    {
      skip: missing,
    },
    () =>
      assertSameLogits(name, {
        method: "gptq",
        methodOptions: { steps: 5 },
        calibration: { windows: 2, window: 128 },
        calibrationText: async () => readFileSync(join(demo, "calibration.txt"), "utf8"),
      }),
  );
}

test("f32: the most likely text after a prompt is the same, 100 tokens long", { skip: missing }, async () => {
  const { theirs, ours } = await both("f32");
  const prompt = ours.tokenizer.encode("The ship sailed");
  const session = ours.session();
  const made: number[] = [];
  let logits = session.prefill(prompt);
  while (made.length < 100) {
    made.push(argmax(logits));
    logits = session.forward([made[made.length - 1]], "last");
  }
  const expected = await theirs.greedy(prompt, 100);
  assert.equal(ours.tokenizer.decode(made), ours.tokenizer.decode(expected));
  session.dispose();
  ours.dispose();
  await theirs.dispose();
});
