/**
 * Bitloom's files beside those of llama.cpp's own quantizer: the same base file, calibration text, types and bytes, and the
 * same measure, the divergence from the base on text that neither has seen, paired token by token.
 *
 *     node dist/bench/llama-cpp/compare.js [MODEL] [--types q4_0,q4_k] [--tools FOLDER] [--tokens N] [--check 16]
 *         [--text FILE] [--calibrate FILE] [--method gptq] [--windows N] [--out FILE]
 *
 * llama.cpp quantizes three times: without importance matrix, with its own (which leaves out a head that is tied to the
 * embedding), and with one by Bitloom that has the head too. --check N: llama-perplexity itself says what our file's
 * perplexity and divergence are over N windows, beside what Bitloom says of the same tokens. build.mjs makes the tools.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../../src/checkpoints/index.js";
import {
  estimate,
  klDivergence,
  liveReference,
  logSumExp,
  type Reference,
  remember,
} from "../../src/evaluate/index.js";
import { type Backend, createBackend } from "../../src/kernels/index.js";
import { argmax, type Model, openModel } from "../../src/models/index.js";
import { collectImportance, quantizeModel, writeImatrix } from "../../src/quantize/index.js";
import type { Check, Comparison, ComparisonRow, Maker } from "./document.js";
import { llamaTools, missingTools } from "./tools.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    types: { type: "string", default: "q4_0,q4_1,q5_0,q4_k,q5_1,q8_0,iq4_nl,q3_k,q6_k" },
    tools: {
      type: "string",
      default: process.env.BITLOOM_LLAMA_CPP ?? join(root, ".cache", "llama-cpp", "build", "bin"),
    },
    tokens: { type: "string", default: "8192" },
    check: { type: "string", default: "16" },
    text: { type: "string", default: join(root, "demo", "held-out.txt") },
    calibrate: { type: "string", default: join(root, "demo", "calibration.txt") },
    method: { type: "string", default: "gptq" },
    windows: { type: "string", default: "32" },
    threads: { type: "string", default: String(cpus().length) },
    out: { type: "string" },
  },
});
const CONTEXT = 512;
const [tokens, checked, threads] = [options.tokens, options.check, options.threads].map(Number);

const missing = missingTools(options.tools);
if (missing.length > 0) {
  process.stderr.write(`${options.tools} lacks ${missing.join(", ")}\n`);
  process.stderr.write(
    "node bench/llama-cpp/build.mjs builds them; --tools FOLDER or BITLOOM_LLAMA_CPP names another\n",
  );
  process.exit(2);
}

/** One number for every token that was predicted. */
interface Scores {
  readonly losses: Float64Array;
  readonly divergences: Float64Array;
  readonly agreements: Float64Array;
  readonly differences: Float64Array;
}

/** Windows of CONTEXT tokens, each id after the first predicted once, as `bitloom eval` has it. */
function scoresOf(model: Model, ids: readonly number[], reference: Reference): Scores {
  const column = () => new Float64Array(tokens);
  const scores = { losses: column(), divergences: column(), agreements: column(), differences: column() };
  const session = model.session({ context: CONTEXT });
  for (let done = 0; done < tokens; ) {
    const offset = done % CONTEXT;
    if (offset === 0) session.rewind(0);
    const chunk = ids.slice(done, done + Math.min(session.batch, CONTEXT - offset, tokens - done));
    const logits = session.forward(chunk, "all");
    const expected = reference.logits(done, offset, chunk);
    const width = logits.length / chunk.length;
    for (let i = 0; i < chunk.length; i++) {
      const [mine, base] = [logits, expected].map((rows) => rows.subarray(i * width, (i + 1) * width));
      const [total, baseTotal] = [logSumExp(mine), logSumExp(base)];
      const [at, target] = [done + i, ids[done + i + 1]];
      scores.losses[at] = total - mine[target];
      scores.differences[at] = scores.losses[at] - (baseTotal - base[target]);
      scores.divergences[at] = klDivergence(base, baseTotal, mine, total);
      scores.agreements[at] = argmax(mine) === argmax(base) ? 1 : 0;
    }
    done += chunk.length;
  }
  session.dispose();
  return scores;
}

async function scoresOfFile(path: string, ids: readonly number[], reference: Reference, backend: Backend) {
  const model = await openModel(path, { backend });
  const scores = scoresOf(model, ids, reference);
  model.dispose();
  return scores;
}

/** Name, scheme and bytes of every tensor, which must be the same in both files. */
async function contents(path: string): Promise<readonly string[]> {
  const checkpoint = await openCheckpoint(path);
  const lines = checkpoint.tensors.map(({ name, scheme, bytes }) => `${name} ${scheme?.name} ${bytes}`);
  await checkpoint.close();
  return lines.sort();
}

async function assertSameContents(ours: string, theirs: string): Promise<number> {
  const [mine, other] = [await contents(ours), await contents(theirs)];
  const apart = mine.find((line, i) => line !== other[i]);
  if (apart !== undefined || mine.length !== other.length) {
    throw new Error(`the files do not hold the same: ${apart ?? mine.length} is not in ${basename(theirs)}`);
  }
  return mine.reduce((sum, line) => sum + Number(line.split(" ")[2]), 0);
}

const rowOf = (type: string, maker: Maker, scores: Scores, seconds: number, ours?: Scores): ComparisonRow => {
  const [kl, delta] = [estimate(scores.divergences), estimate(scores.differences)];
  return {
    type,
    maker,
    perplexity: Math.exp(estimate(scores.losses).mean),
    deltaNll: delta.mean,
    deltaNllCi95: delta.ci95,
    kl: kl.mean,
    klCi95: kl.ci95,
    ...(ours && { oursLowerCi95: estimate(scores.divergences.map((x, i) => x - ours.divergences[i])).ci95 }),
    top1Agreement: estimate(scores.agreements).mean,
    seconds,
  };
};

/** What llama-perplexity scores: the ids after the first half of each window, predicted within the window. */
function secondHalves(values: Float64Array, windows: number): number {
  let sum = 0;
  for (let w = 0; w < windows; w++) {
    for (let i = CONTEXT / 2; i < CONTEXT - 1; i++) sum += values[w * CONTEXT + i];
  }
  return sum / (windows * (CONTEXT / 2 - 1));
}

const timed = (work: () => void): number => {
  const begin = performance.now();
  work();
  return (performance.now() - begin) / 1000;
};

const input = positionals[0] === undefined || positionals[0] === "demo" ? join(root, "demo") : positionals[0];
const folder = mkdtempSync(join(tmpdir(), "bitloom-llama-cpp-"));
const at = (name: string) => join(folder, name);
const tools = llamaTools(options.tools, threads);
const backend = await createBackend("wasm", { threads });
const text = readFileSync(options.calibrate, "utf8");
try {
  await quantizeModel({ input, output: at("base.gguf"), scheme: "f32", threads });
  const base = await openModel(at("base.gguf"), { backend });
  const ids = base.tokenizer.encode(readFileSync(options.text, "utf8"));
  if (ids.length <= tokens) throw new Error(`the text has ${ids.length} tokens, ${tokens + 1} are wanted`);
  const reference = remember(liveReference(base, CONTEXT));
  tools.imatrix(at("base.gguf"), options.calibrate, at("theirs.imatrix.gguf"), CONTEXT);
  const calibration = { windows: Number(options.windows), window: CONTEXT };
  await writeImatrix(
    at("ours.imatrix.gguf"),
    await collectImportance({ input, text, calibration, threads }),
    basename(options.calibrate),
  );
  const makers: readonly (readonly [Maker, string | undefined])[] = [
    ["llama.cpp", undefined],
    ["llama.cpp, imatrix", at("theirs.imatrix.gguf")],
    ["llama.cpp, imatrix with head", at("ours.imatrix.gguf")],
  ];
  const windows = Math.min(checked, Math.floor(tokens / CONTEXT));
  if (windows > 0) tools.remember(at("base.gguf"), options.text, at("base.kld"), CONTEXT, windows);
  const [rows, checks]: [ComparisonRow[], Check[]] = [[], []];
  const bytes: Record<string, number> = {};
  for (const type of options.types.split(",")) {
    const output = at(`ours-${type}.gguf`);
    const calibrationText = async () => text;
    const job = { input, output, scheme: type, method: options.method, calibration, calibrationText, threads };
    const { seconds } = await quantizeModel(job);
    const ours = await scoresOfFile(output, ids, reference, backend);
    rows.push(rowOf(type, `bitloom, ${options.method}`, ours, seconds));
    for (const [maker, imatrix] of makers) {
      const path = at("theirs.gguf");
      const spent = timed(() => tools.quantize(at("base.gguf"), path, type, imatrix));
      bytes[type] = await assertSameContents(output, path);
      rows.push(rowOf(type, maker, await scoresOfFile(path, ids, reference, backend), spent, ours));
    }
    if (windows > 0) {
      const there = tools.divergence(output, at("base.kld"), CONTEXT);
      const here = {
        perplexity: Math.exp(secondHalves(ours.losses, windows)),
        kl: secondHalves(ours.divergences, windows),
      };
      checks.push({ type, here, there });
    }
    for (const { maker, kl, deltaNll } of rows.slice(-1 - makers.length)) {
      process.stderr.write(`${type.padEnd(8)} ${maker.padEnd(30)} KL ${kl.toFixed(5)}  nats ${deltaNll.toFixed(5)}\n`);
    }
    rmSync(output);
    keep(rows, checks, bytes, windows);
  }
  reference.dispose();
} finally {
  await backend.dispose();
  rmSync(folder, { recursive: true, force: true });
}

/** Prints or keeps what is known so far; rows of other types in the file stay. */
function keep(
  rows: readonly ComparisonRow[],
  checks: readonly Check[],
  bytes: Record<string, number>,
  windows: number,
) {
  if (!options.out) return;
  const found: Comparison = {
    model: basename(input),
    llamaCpp: tools.version,
    machine: cpus()[0].model.trim(),
    node: process.versions.node,
    calibration: { text: basename(options.calibrate), windows: Number(options.windows), window: CONTEXT },
    evaluation: { text: basename(options.text), tokens, context: CONTEXT, checkedWindows: windows },
    bytes,
    rows,
    checks,
  };
  const before = existsSync(options.out) ? (JSON.parse(readFileSync(options.out, "utf8")) as Comparison) : undefined;
  writeFileSync(options.out, `${JSON.stringify(before ? merged(before, found) : found, null, 2)}\n`);
}

function merged(before: Comparison, now: Comparison): Comparison {
  const fresh = new Set(Object.keys(now.bytes));
  const older = <T extends { readonly type: string }>(list: readonly T[]) =>
    list.filter(({ type }) => !fresh.has(type));
  return {
    ...now,
    bytes: { ...before.bytes, ...now.bytes },
    rows: [...older(before.rows), ...now.rows],
    checks: [...older(before.checks), ...now.checks],
  };
}
