/**
 * What methods cost in quality: each file is written, read again and compared with the original model token by token on text
 * that neither training nor calibration has seen. Differences are paired, seeds fixed, so that the same command gives the same
 * numbers.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError, UnsupportedError } from "../errors.js";
import { evaluate, liveReference, type Reference, remember } from "../evaluate/index.js";
import { schemes } from "../formats/index.js";
import type { Backend } from "../kernels/index.js";
import { type Model, openModel } from "../models/index.js";
import {
  compensations,
  methods,
  planQuantization,
  type QualityRow,
  type QuantizeOptions,
  quantizeModel,
  transforms,
} from "../quantize/index.js";

export interface QualityOptions {
  readonly backend: Backend;
  /** A model; see openCheckpoint. */
  readonly input: string;
  /** What rows call the model. */
  readonly name: string;
  readonly cases: readonly QualityCase[];
  /** What is predicted. */
  readonly text: string;
  readonly calibrationText: string;
  /** Windows of calibration text. Default: the recipe's. */
  readonly windows?: number;
  /** Tokens to predict, in windows of 512 or the model's context. */
  readonly tokens: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
  readonly onRow?: (row: QualityRow) => void;
}

/** One row to be measured: how the model is quantized, and what the row calls it. */
export interface QualityCase {
  readonly scheme: string;
  readonly method: string;
  readonly how: Pick<QuantizeOptions, "scheme" | "method" | "transforms" | "compensation" | "activations" | "recipe">;
}

/**
 * The case of a scheme and a method as rows write it, `transform+method+compensation/activations`: "awq+gptq",
 * "gptq+lorc/int8-row", "rtn/llm-int8:int8-row". All parts but the method may be absent.
 */
export function qualityCase(scheme: string, text: string): QualityCase {
  const [weights, activations] = text.split("/");
  const steps = weights.split("+");
  const compensation = steps.length > 1 && compensations.find(steps[steps.length - 1]) ? steps.pop() : undefined;
  const method = methods.get(steps.pop() ?? "").name;
  const before = steps.map((name) => transforms.get(name).name);
  const how = { scheme: schemes.get(scheme).name, method, transforms: before, compensation, activations };
  return { scheme, method: text, how };
}

const WINDOW = 512;

export async function benchQuality(options: QualityOptions): Promise<QualityRow[]> {
  const { backend, input, text, cases, onProgress, onRow } = options;
  const folder = mkdtempSync(join(tmpdir(), "bitloom-quality-"));
  const base = await openModel(input, { backend });
  const context = Math.min(WINDOW, base.config.context);
  const reference = remember(liveReference(base, context));
  try {
    const ids = base.tokenizer.encode(text);
    if (ids.length < 2) throw new InputError("the text is too short to predict anything", { kind: "text-too-short" });
    const rows: QualityRow[] = [];
    for (const [index, one] of cases.entries()) {
      onProgress?.(index, cases.length, `${one.scheme} ${one.method}`);
      const row = await measure(options, one, { reference, ids, context, folder });
      rows.push(row);
      onRow?.(row);
    }
    onProgress?.(cases.length, cases.length, "");
    return rows;
  } finally {
    reference.dispose();
    base.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Setting {
  readonly reference: Reference;
  readonly ids: readonly number[];
  readonly context: number;
  readonly folder: string;
}

async function measure(
  { backend, input, name, calibrationText, windows, tokens, signal }: QualityOptions,
  { scheme, method, how }: QualityCase,
  { reference, ids, context, folder }: Setting,
): Promise<QualityRow> {
  const settings = {
    ...how,
    input,
    calibration: windows === undefined ? {} : { windows },
    calibrationText: async () => calibrationText,
    backend: backend.info.name,
    threads: backend.info.threads,
    signal,
  };
  const written = await quantizeModel({ ...settings, output: await outputFor(settings, folder) });
  const quantized: Model = await openModel(written.output, { backend });
  try {
    const found = evaluate(quantized, { ids, context, tokens, against: reference });
    if (!found.comparison) throw new Error("an evaluation against a reference has no comparison");
    const { deltaNll, deltaNllCi95, kl, klCi95, top1Agreement } = found.comparison;
    const { bytes, bitsPerWeight, seconds } = written;
    const size = { model: name, method, scheme, bytes, bitsPerWeight };
    const quality = { tokens: found.tokens, perplexity: found.perplexity, deltaNll, ci95: deltaNllCi95, kl, klCi95 };
    return { ...size, ...quality, top1Agreement, seconds, ...(windows !== undefined && { windows }) };
  } finally {
    quantized.dispose();
  }
}

/** A GGUF file where that can hold the result; a folder otherwise. */
async function outputFor(settings: Omit<QuantizeOptions, "output">, folder: string): Promise<string> {
  const output = join(folder, "model.gguf");
  try {
    const { checkpoint } = await planQuantization({ ...settings, output });
    await checkpoint.close();
    return output;
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return join(folder, "model");
  }
}
