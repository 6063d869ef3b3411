/**
 * What methods cost in quality: each file is written, read again and compared with the original model on text that neither
 * training nor calibration has seen. Differences are paired, seeds fixed, so that the same command gives the same numbers.
 */
import { join } from "node:path";
import { openCheckpoint } from "../checkpoints/index.js";
import { UnsupportedError } from "../errors.js";
import { schemes } from "../formats/index.js";
import type { Backend } from "../kernels/index.js";
import { type Architecture, architectureOf } from "../models/index.js";
import {
  calibrationOf,
  compensations,
  type EncoderQualityRow,
  methods,
  planQuantization,
  type QualityRow,
  type QuantizeOptions,
  quantizeModel,
  transforms,
} from "../quantize/index.js";
import { type Judge, judges } from "./judges.js";
import { openScratch } from "./scratch.js";

export type AnyQualityRow = QualityRow | EncoderQualityRow;

export interface QualityOptions {
  readonly backend: Backend;
  /** A model; see openCheckpoint. */
  readonly input: string;
  /** What rows call the model. */
  readonly name: string;
  readonly cases: readonly QualityCase[];
  /** What is predicted; what an encoder makes vectors of the sentences of. */
  readonly text: string;
  readonly calibrationText: string;
  /** Windows of calibration text. Default: the recipe's. */
  readonly windows?: number;
  /** Tokens that a decoder predicts. */
  readonly tokens: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
  readonly onRow?: (row: AnyQualityRow) => void;
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

/** Measures every case; what is wrong with one is found before the first. Rows are those of the kind of model that the input is. */
export async function benchQuality(options: QualityOptions): Promise<AnyQualityRow[]> {
  const { cases, onProgress, onRow } = options;
  const scratch = await openScratch("quality");
  try {
    const planned: PlannedCase[] = [];
    for (const one of cases) planned.push(await plan(options, one, scratch.path));
    const judge = await judges[await kindOf(options.input)](options);
    try {
      const rows: AnyQualityRow[] = [];
      for (const [index, one] of planned.entries()) {
        onProgress?.(index, cases.length, `${one.scheme} ${one.method}`);
        const row = await measure(options, one, judge);
        rows.push(row);
        onRow?.(row);
      }
      onProgress?.(cases.length, cases.length, "");
      return rows;
    } finally {
      judge.dispose();
    }
  } finally {
    scratch.remove();
  }
}

async function kindOf(input: string): Promise<Architecture["kind"]> {
  const checkpoint = await openCheckpoint(input);
  try {
    return architectureOf(checkpoint).kind;
  } finally {
    await checkpoint.close();
  }
}

interface PlannedCase extends Pick<QualityCase, "scheme" | "method"> {
  readonly settings: QuantizeOptions;
}

/** How a case is quantized, into a GGUF file where that can hold the result, a folder otherwise. */
async function plan(
  { backend, input, calibrationText, windows, signal }: QualityOptions,
  { scheme, method, how }: QualityCase,
  folder: string,
): Promise<PlannedCase> {
  const settings = {
    ...how,
    input,
    calibration: windows === undefined ? {} : { windows },
    calibrationText: async () => calibrationText,
    backend: backend.info.name,
    threads: backend.info.threads,
    signal,
  };
  const into = async (output: string) => {
    const plan = await planQuantization({ ...settings, output });
    try {
      if (plan.calibrated) await calibrationOf(plan, { ...settings, output });
    } finally {
      await plan.checkpoint.close();
    }
    return { scheme, method, settings: { ...settings, output } };
  };
  try {
    return await into(join(folder, "model.gguf"));
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return into(join(folder, "model"));
  }
}

async function measure(
  { name, windows }: QualityOptions,
  { scheme, method, settings }: PlannedCase,
  judge: Judge,
): Promise<AnyQualityRow> {
  const { output, bytes, bitsPerWeight, seconds } = await quantizeModel(settings);
  const size = { model: name, method, scheme, bytes, bitsPerWeight };
  return { ...size, ...(await judge.judge(output)), seconds, ...(windows !== undefined && { windows }) };
}
