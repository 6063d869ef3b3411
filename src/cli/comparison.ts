/** One model in many schemes: each quantized, evaluated against the original token by token, and made to write a little. */
import { join } from "node:path";
import { containers, openCheckpoint } from "../checkpoints/index.js";
import { evaluate, liveReference, type Reference, remember } from "../evaluate/index.js";
import { type Scheme, schemes } from "../formats/index.js";
import type { Backend } from "../kernels/index.js";
import { generate, type Model } from "../models/index.js";
import { quantizeModel } from "../quantize/index.js";
import type { Context } from "./command.js";
import { withModel } from "./engine.js";
import { interruptible } from "./interrupt.js";
import type { ComparedScheme, Measured } from "./report/data.js";

export interface ComparisonOptions {
  /** Path of the original. */
  readonly input: string;
  readonly schemes: readonly string[];
  /** Folder for the quantized models. */
  readonly folder: string;
  readonly text: string;
  readonly window: number;
  readonly tokens: number;
  readonly prompt: string;
}

export interface Comparison {
  /** Tokens predicted. */
  readonly tokens: number;
  readonly original: Measured;
  readonly rows: readonly ComparedScheme[];
}

const SAMPLE = { tokens: 48, temperature: 0.7, seed: 1 };

/** Of the time for one scheme, about this share goes into quantizing. */
const QUANTIZE_SHARE = 0.2;

/** One long job of equal parts; each says how far it is, from 0 to 1. */
function jobOf({ progress }: Context, label: string, parts: number) {
  const steps = 1000;
  let finished = 0;
  progress.start(label, parts * steps);
  return {
    within: (share: number, note: string) => progress.update(Math.round(steps * (finished + share)), note),
    finish: (count = 1) => {
      finished += count;
    },
  };
}
type Job = ReturnType<typeof jobOf>;

export async function compareSchemes(context: Context, backend: Backend, options: ComparisonOptions) {
  return withModel(backend, options.input, async (model): Promise<Comparison> => {
    const ids = model.tokenizer.encode(options.text);
    // The original is run twice at first: once for itself, once to remember what it says.
    const job = jobOf(context, "comparing", options.schemes.length + 2);
    const reference = remember(liveReference(model, options.window));
    try {
      const measure = measurer(options, ids, reference);
      const { comparison: _, tokens, ...original } = measure(model, (share) => job.within(2 * share, "original"));
      job.finish(2);
      const rows: ComparedScheme[] = [];
      for (const name of options.schemes) {
        rows.push(await compareOne(backend, options, schemes.get(name), measure, job));
        job.finish();
      }
      return { tokens, original: { scheme: await mainScheme(options.input), ...original }, rows };
    } finally {
      reference.dispose();
    }
  });
}

type Measure = ReturnType<typeof measurer>;

/** Evaluates a model and lets it write. */
function measurer({ window, tokens, prompt }: ComparisonOptions, ids: readonly number[], against: Reference) {
  return (model: Model, onShare: (share: number) => void) => {
    const onProgress = (done: number, total: number) => onShare(done / total);
    const evaluation = evaluate(model, { ids, context: window, tokens, against, onProgress });
    const { nllCi95: _, seconds: __, ...numbers } = evaluation;
    const { bytes, bitsPerWeight } = model.size;
    return { bytes, bitsPerWeight, ...numbers, sample: sampleOf(model, prompt) };
  };
}

async function compareOne(
  backend: Backend,
  { input, folder }: ComparisonOptions,
  scheme: Scheme,
  measure: Measure,
  job: Job,
): Promise<ComparedScheme> {
  const output = join(folder, fileName(scheme));
  const { seconds: quantizeSeconds, tensors } = await interruptible((signal) =>
    quantizeModel({
      input,
      output,
      scheme: scheme.name,
      signal,
      onProgress: ({ doneWeights, totalWeights }) =>
        job.within((QUANTIZE_SHARE * doneWeights) / totalWeights, `${scheme.name}: quantizing`),
    }),
  );
  return withModel(backend, output, async (model) => {
    const {
      tokens: _,
      comparison,
      ...numbers
    } = measure(model, (share) =>
      job.within(QUANTIZE_SHARE + (1 - QUANTIZE_SHARE) * share, `${scheme.name}: evaluating`),
    );
    if (!comparison) throw new Error("an evaluation against a reference has no comparison");
    return {
      scheme: scheme.name,
      kind: scheme.element.kind,
      output,
      ...numbers,
      ...comparison,
      quantizeSeconds,
      tensors,
    };
  });
}

/** GGUF where it can hold the scheme, because other engines read it; a safetensors folder otherwise. */
function fileName(scheme: Scheme): string {
  const fits = containers.get("gguf").canHold(scheme, [256, 256]) === true;
  return fits ? `${scheme.name}.gguf` : scheme.name;
}

function sampleOf(model: Model, prompt: string): string {
  const session = model.session({ context: model.config.context });
  try {
    const tokens = generate(session, model.tokenizer, model.tokenizer.encode(prompt), SAMPLE);
    return Array.from(tokens, ({ text }) => text).join("");
  } finally {
    session.dispose();
  }
}

/** The scheme that holds most of a model's weights. */
async function mainScheme(path: string): Promise<string> {
  const checkpoint = await openCheckpoint(path);
  await checkpoint.close();
  const weights = new Map<string, number>();
  for (const { scheme, type, shape } of checkpoint.tensors) {
    const name = scheme?.name ?? type;
    weights.set(name, (weights.get(name) ?? 0) + shape.reduce((a, b) => a * b, 1));
  }
  return [...weights].reduce((most, entry) => (entry[1] > most[1] ? entry : most))[0];
}
