/**
 * llama.cpp through node-llama-cpp, in the few words that the checks need. The package is installed by run.mjs in this
 * folder alone, so it is imported by path and typed here.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const entry = fileURLToPath(
  new URL("../../../test/engines/node_modules/node-llama-cpp/dist/index.js", import.meta.url),
);

/** Why nothing can be checked, for the `skip` of a test; false if it can. */
export const missing: string | false = existsSync(entry)
  ? false
  : "skipped, because llama.cpp is not installed here: npm run test:engines installs it on linux-x64";

interface Evaluated {
  readonly next: {
    readonly token?: number | null;
    readonly logits?: ReadonlyMap<number, number>;
    readonly totalLogitWeight?: number;
  };
}

/** The part of node-llama-cpp 3.22 that is used. */
interface NodeLlamaCpp {
  readonly LlamaLogLevel: Readonly<Record<string, string>>;
  getLlama(options: object): Promise<{
    readonly llamaCppRelease: { readonly release: string };
    loadModel(options: object): Promise<NativeModel>;
    dispose(): Promise<void>;
  }>;
}

interface NativeModel {
  readonly tokens: {
    readonly bos: number | null;
    readonly eos: number | null;
    readonly shouldPrependBosToken: boolean;
  };
  tokenize(text: string, specialTokens: boolean): readonly number[];
  createContext(options: object): Promise<{
    getSequence(): {
      controlledEvaluate(input: readonly unknown[]): Promise<readonly (Evaluated | undefined)[]>;
      clearHistory(): Promise<void>;
    };
    dispose(): Promise<void>;
  }>;
  createEmbeddingContext(options: object): Promise<{
    getEmbeddingFor(ids: readonly number[]): Promise<{ readonly vector: readonly number[] }>;
    dispose(): Promise<void>;
  }>;
  dispose(): Promise<void>;
}

export interface LlamaEncoder {
  tokenize(text: string): number[];
  /** The pooled vector of ids, special ones included. */
  vectorOf(ids: readonly number[]): Promise<readonly number[]>;
  dispose(): Promise<void>;
}

export interface LlamaModel {
  readonly bos: number | null;
  readonly eos: number | null;
  readonly addBos: boolean;
  tokenize(text: string, parseSpecial: boolean): number[];
  /** For every id, the logits of the token after it. */
  logits(ids: readonly number[]): Promise<Float32Array[]>;
  /** For every id but the first, the negative natural logarithm of its probability after those before it. */
  nll(ids: readonly number[]): Promise<number[]>;
  /** The most likely `count` ids after `ids`, one by one. */
  greedy(ids: readonly number[], count: number): Promise<number[]>;
  dispose(): Promise<void>;
}

export interface LlamaCpp {
  readonly release: string;
  /** `vocabOnly` reads no weights: the tokenizer is there, the rest is not. */
  open(path: string, options?: { readonly context?: number; readonly vocabOnly?: boolean }): Promise<LlamaModel>;
  openEncoder(path: string): Promise<LlamaEncoder>;
  dispose(): Promise<void>;
}

/** `quiet`: its own log is not printed; failures are thrown either way. */
export async function llamaCpp({ quiet = false } = {}): Promise<LlamaCpp> {
  const { getLlama, LlamaLogLevel } = (await import(entry)) as NodeLlamaCpp;
  const logLevel = quiet ? LlamaLogLevel.disabled : LlamaLogLevel.error;
  // Only what is installed: nothing is built or fetched.
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel });
  return {
    release: llama.llamaCppRelease.release,
    async open(path, { context = 512, vocabOnly = false } = {}) {
      const model = await llama.loadModel({ modelPath: path, gpuLayers: 0, useMmap: false, vocabOnly });
      return vocabOnly ? withoutWeights(model) : withContext(model, context);
    },
    async openEncoder(path) {
      const model = await llama.loadModel({ modelPath: path, gpuLayers: 0, useMmap: false });
      const context = await model.createEmbeddingContext({ contextSize: 256, batchSize: 256, threads: 1 });
      return {
        tokenize: (text) => [...model.tokenize(text, false)],
        vectorOf: async (ids) => (await context.getEmbeddingFor([...ids])).vector,
        async dispose() {
          await context.dispose();
          await model.dispose();
        },
      };
    },
    dispose: () => llama.dispose(),
  };
}

function tokenizerOf(model: NativeModel) {
  const { bos, eos, shouldPrependBosToken } = model.tokens;
  return {
    bos,
    eos,
    addBos: shouldPrependBosToken,
    tokenize: (text: string, parseSpecial: boolean) => [...model.tokenize(text, parseSpecial)],
  };
}

function withoutWeights(model: NativeModel): LlamaModel {
  const refuse = () => Promise.reject(new Error("opened without weights"));
  return { ...tokenizerOf(model), logits: refuse, nll: refuse, greedy: refuse, dispose: () => model.dispose() };
}

async function withContext(model: NativeModel, contextSize: number): Promise<LlamaModel> {
  // Keys and values in f32 and no fused attention, so that f32 weights are computed in f32 throughout.
  const exact = { flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" };
  const context = await model.createContext({ contextSize, batchSize: contextSize, threads: 1, ...exact });
  const sequence = context.getSequence();
  const evaluate = async (items: readonly unknown[]) => {
    const results = await sequence.controlledEvaluate(items);
    return results.filter((result) => result !== undefined).map(({ next }) => next);
  };
  return {
    ...tokenizerOf(model),
    async logits(ids) {
      await sequence.clearHistory();
      const next = await evaluate(ids.map((id) => [id, { generateNext: { logits: true } }]));
      return next.map(({ logits = new Map() }) => {
        const row = new Float32Array(logits.size);
        for (const [id, logit] of logits) row[id] = logit;
        return row;
      });
    },
    async nll(ids) {
      await sequence.clearHistory();
      const wanted = (id: number) => ({ filter: { tokens: [id], includeTop: 1 } });
      const next = await evaluate(
        ids.slice(0, -1).map((id, i) => [id, { generateNext: { logits: wanted(ids[i + 1]), totalLogitWeight: true } }]),
      );
      return next.map(({ logits = new Map(), totalLogitWeight = Number.NaN }, i) => {
        const most = Math.max(...logits.values());
        return most + Math.log(totalLogitWeight) - (logits.get(ids[i + 1]) ?? Number.NaN);
      });
    },
    async greedy(ids, count) {
      await sequence.clearHistory();
      const made: number[] = [];
      let input = ids;
      while (made.length < count) {
        const best = { generateNext: { token: true, options: { temperature: 0 } } };
        const last = input.length - 1;
        const [{ token }] = await evaluate(input.map((id, i) => (i === last ? [id, best] : id)));
        if (typeof token !== "number") throw new Error("llama.cpp gave no token");
        made.push(token);
        input = [token];
      }
      return made;
    },
    async dispose() {
      await context.dispose();
      await model.dispose();
    },
  };
}
