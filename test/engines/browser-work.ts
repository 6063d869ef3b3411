/**
 * What a page asks of Bitloom, with nothing in it that only Node has: it runs in Node and, as a worker, in a browser, and
 * the answers are compared.
 */
import { blobSource, openGguf, openTokenizer } from "../../src/checkpoints/index.js";
import { schemes } from "../../src/formats/index.js";
import { createBackend } from "../../src/kernels/index.js";
import { integerValues } from "../../src/kernels/int8.js";
import { generate, loadDecoder } from "../../src/models/index.js";
import { quantize } from "../../src/tensor/index.js";

export interface BrowserWork {
  readonly backend: string;
  readonly threads: number;
  readonly activations: "f32" | "int8";
}

export interface BrowserOutcome {
  /** Threads there really are, and what the engine has. */
  readonly threads: number;
  readonly features: readonly string[];
  /** By scheme: the bits of a product of a matrix with a vector, [ROWS]. */
  readonly products: Readonly<Record<string, readonly number[]>>;
  /** Greedy ids of the model in `gguf`. */
  readonly ids: readonly number[];
}

const [ROWS, COLUMNS] = [24, 288];
const PROMPT = "Call me Ishmael. Some years ago--never mind how long precisely--";
const TOKENS = 24;

/** Numbers in -1..1 that every engine makes alike. */
const numbers = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => (Math.imul(i + seed, 0x9e3779b1) >> 8) / 2 ** 23);

export async function work(asked: BrowserWork, gguf: Blob): Promise<BrowserOutcome> {
  const { threads, activations } = asked;
  const backend = await createBackend(asked.backend, { threads });
  const x = backend.upload(numbers(COLUMNS, 7));
  const out = backend.allocate(ROWS);
  const products: Record<string, number[]> = {};
  for (const scheme of schemes.entries) {
    if (activations === "int8" && !integerValues(scheme.element)) continue;
    const packed = quantize(numbers(ROWS * COLUMNS, 1), [ROWS, COLUMNS], scheme);
    const matrix = backend.loadMatrix(packed, activations);
    backend.matmul(out, x, matrix, 1);
    products[scheme.name] = [...new Int32Array(out.data().slice().buffer)];
    backend.freeMatrix(matrix);
  }
  const checkpoint = await openGguf(blobSource("model.gguf", gguf));
  const tokenizer = await openTokenizer(checkpoint);
  const decoder = await loadDecoder(checkpoint, { backend, activations });
  const session = decoder.session({ context: 128 });
  const made = [...generate(session, tokenizer, tokenizer.encode(PROMPT), { tokens: TOKENS, temperature: 0, seed: 1 })];
  const { info } = backend;
  session.dispose();
  decoder.dispose();
  await backend.dispose();
  return {
    threads: info.threads,
    features: info.features,
    products,
    ids: made.flatMap(({ id }) => (id === undefined ? [] : [id])),
  };
}
