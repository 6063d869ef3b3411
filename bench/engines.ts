/**
 * Bitloom beside llama.cpp (npm node-llama-cpp, installed by `npm run test:engines`) on the same files, threads and
 * tokens, in the same process, by turns:
 *
 *     node dist/bench/engines.js MODEL.gguf... [--threads 1,2] [--rounds 3] [--prompt 256] [--tokens 64] [--write]
 *
 * Each engine reads a prompt and makes more tokens, greedily, after one round that warms up. --write adds the
 * medians to bench/results/engines.json, rows of the same file, threads and machine replaced.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createBackend } from "../src/kernels/index.js";
import { argmax, openModel } from "../src/models/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "3" },
    write: { type: "boolean", default: false },
    prompt: { type: "string", default: "256" },
    tokens: { type: "string", default: "64" },
  },
});
/** Milliseconds between one engine's turn and the other's. */
const pause = 300;
const [promptTokens, madeTokens] = [Number(values.prompt), Number(values.tokens)];
const entry = new URL("../../test/engines/node_modules/node-llama-cpp/dist/index.js", import.meta.url);
const results = fileURLToPath(new URL("../../bench/results/engines.json", import.meta.url));

/** Milliseconds of one round: the prompt, and the tokens after it. */
interface Round {
  readonly prompt: number;
  readonly made: number;
}
interface Runner {
  readonly engine: string;
  round(): Promise<Round>;
  dispose(): Promise<void>;
}
interface Row {
  readonly model: string;
  readonly threads: number;
  readonly engine: string;
  readonly promptTokens: number;
  readonly madeTokens: number;
  readonly promptTokensPerSecond: number;
  readonly tokensPerSecond: number;
  /** The best round's. */
  readonly best: { readonly promptTokensPerSecond: number; readonly tokensPerSecond: number };
  /** Of Bitloom: medians of its speed over the other's in the turn after. The machine's speed changes from turn to turn. */
  readonly ratios?: { readonly prompt: number; readonly generation: number };
}

const ids = (vocabulary: number) =>
  Array.from({ length: promptTokens }, (_, i) => 100 + ((i * 7919) % (vocabulary - 200)));

async function bitloom(path: string, threads: number, activations: "f32" | "int8"): Promise<Runner> {
  const backend = await createBackend("wasm", { threads });
  const model = await openModel(path, { backend, activations });
  const session = model.session({ context: promptTokens + madeTokens, batch: promptTokens });
  const prompt = ids(model.config.vocabularySize);
  return {
    engine: `bitloom ${activations}`,
    async round() {
      session.rewind(0);
      const begin = performance.now();
      let next = argmax(session.prefill(prompt));
      const middle = performance.now();
      for (let made = 0; made < madeTokens; made++) next = argmax(session.forward([next], "last"));
      return { prompt: middle - begin, made: performance.now() - middle };
    },
    async dispose() {
      session.dispose();
      model.dispose();
      await backend.dispose();
    },
  };
}

async function llamaCpp(path: string, threads: number): Promise<Runner> {
  // Typed no further than it is used here: the package is installed apart (test/engines).
  const { getLlama, LlamaLogLevel } = await import(entry.href);
  const llama = await getLlama({
    ...{ gpu: false, build: "never", skipDownload: true, maxThreads: threads },
    logLevel: LlamaLogLevel.error,
  });
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0, useMmap: false });
  const context = await model.createContext({ contextSize: 512, batchSize: 512, threads });
  const sequence = context.getSequence();
  const prompt = ids(49152);
  return {
    engine: `llama.cpp ${llama.llamaCppRelease.release}`,
    async round() {
      await sequence.clearHistory();
      const begin = performance.now();
      let middle = 0;
      let made = 0;
      // The first token comes from the prompt; 64 more from single steps.
      for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        if (made === 0) middle = performance.now();
        if (made++ === madeTokens) break;
      }
      return { prompt: middle - begin, made: performance.now() - middle };
    },
    async dispose() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}

function row(model: string, threads: number, engine: string, rounds: readonly Round[]): Row {
  const sorted = (times: readonly number[]) => [...times].sort((a, b) => a - b);
  const [prompts, made] = [sorted(rounds.map((one) => one.prompt)), sorted(rounds.map((one) => one.made))];
  const rates = (at: number) => ({
    promptTokensPerSecond: (1000 * promptTokens) / prompts[at],
    tokensPerSecond: (1000 * madeTokens) / made[at],
  });
  return { model, threads, engine, promptTokens, madeTokens, ...rates(rounds.length >> 1), best: rates(0) };
}

function ratios([own, other]: readonly (readonly Round[])[]): Row["ratios"] {
  const middle = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];
  return {
    prompt: middle(own.map((one, turn) => other[turn].prompt / one.prompt)),
    generation: middle(own.map((one, turn) => other[turn].made / one.made)),
  };
}

if (!existsSync(entry)) throw new Error("llama.cpp is not installed here: npm run test:engines installs it");
const rows: Row[] = [];
for (const path of positionals) {
  for (const threads of values.threads.split(",").map(Number)) {
    const runners = [await bitloom(path, threads, "int8"), await llamaCpp(path, threads)];
    const rounds = runners.map((): Round[] => []);
    for (let turn = 0; turn <= Number(values.rounds); turn++) {
      for (const [i, runner] of runners.entries()) {
        // Threads of the engine before may still spin, waiting for work: they are let go to sleep.
        await setTimeout(pause);
        const one = await runner.round();
        if (turn > 0) rounds[i].push(one);
      }
    }
    for (const [i, runner] of runners.entries()) {
      const measured = row(basename(path, ".gguf"), threads, runner.engine, rounds[i]);
      const found = i === 0 ? { ...measured, ratios: ratios(rounds) } : measured;
      rows.push(found);
      const { promptTokensPerSecond, tokensPerSecond, best } = found;
      const figures = [promptTokensPerSecond, tokensPerSecond, best.promptTokensPerSecond, best.tokensPerSecond];
      const [prompt, made, bestPrompt, bestMade] = figures.map((figure) => figure.toFixed(0).padStart(6));
      console.log(
        `${found.model} ${threads} thread(s) ${found.engine.padEnd(18)} prompt ${prompt} made ${made} (best ${bestPrompt} ${bestMade})`,
      );
      if (found.ratios) {
        const { prompt: ofPrompt, generation } = found.ratios;
        console.log(
          `  times the other's speed, median of turns: prompt ${ofPrompt.toFixed(2)}, generation ${generation.toFixed(2)}`,
        );
      }
      await runner.dispose();
    }
  }
}
if (values.write) {
  const machine = `${cpus()[0]?.model.trim()}, ${cpus().length} cores, node ${process.version}`;
  const old = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")).rows : [];
  const key = (one: Row & { machine: string }) => `${one.machine} ${one.model} ${one.threads} ${one.engine}`;
  const fresh = rows.map((one) => ({ machine, ...one }));
  const kept = old.filter((one: Row & { machine: string }) => !fresh.some((now) => key(now) === key(one)));
  writeFileSync(results, `${JSON.stringify({ rows: [...kept, ...fresh] }, null, 2)}\n`);
}
