/**
 * How an encoder's vectors become the vector of a text. Folders of sentence-transformers say it in files of their own:
 * modules.json lists the steps, the pooling step's folder has a config.json, sentence_bert_config.json has the longest text.
 * Files that Bitloom writes have one key, `bitloom.encoder`, in their metadata, because a folder of theirs has no folders.
 */
import type { Checkpoint, Metadata } from "../checkpoints/checkpoint.js";
import { readBeside } from "../checkpoints/index.js";
import { FileError, UnsupportedError } from "../errors.js";
import type { EncoderConfig, Pooling } from "./architecture.js";
import { Fields } from "./config.js";

/** What decides how vectors of tokens become one. */
export type Sentence = Pick<EncoderConfig, "pooling" | "normalize" | "context">;

export const SENTENCE_KEY = "bitloom.encoder";

export const sentenceMetadata = ({ pooling, normalize, context }: Sentence): Metadata => ({
  [SENTENCE_KEY]: JSON.stringify({ pooling, normalize, context }),
});

/** Both kinds of file that lie beside the weights; `otherwise` where a folder does not say. */
export async function readSentence(checkpoint: Checkpoint, otherwise: Sentence): Promise<Sentence> {
  const own = checkpoint.metadata[SENTENCE_KEY];
  if (own !== undefined) return ownSentence(own, checkpoint.path, otherwise);
  if (checkpoint.container === "gguf") return otherwise;
  const limits = await readBeside(checkpoint, "sentence_bert_config.json");
  const fields = new Fields(asObject(limits ?? {}, "sentence_bert_config.json"), "sentence_bert_config.json");
  const context = Math.min(fields.count("max_seq_length", otherwise.context), otherwise.context);
  const modules = await readBeside(checkpoint, "modules.json");
  if (modules === undefined) return { ...otherwise, context };
  return { ...(await readModules(checkpoint, modules)), context };
}

function ownSentence(value: unknown, where: string, { context }: Sentence): Sentence {
  const fields = new Fields(asObject(typeof value === "string" ? JSON.parse(value) : value, where), where);
  const pooling = poolingNamed(fields.text("pooling", "mean"), where);
  const longest = Math.min(fields.count("context", context), context);
  return { pooling, normalize: fields.boolean("normalize", true), context: longest };
}

/** The steps after the transformer. A step of another kind would change the vectors, so it is refused. */
async function readModules(checkpoint: Checkpoint, modules: unknown): Promise<Omit<Sentence, "context">> {
  if (!Array.isArray(modules)) throw wrong("modules.json", "wanted a list of steps");
  let pooling: Pooling = "mean";
  let normalize = false;
  for (const module of modules as unknown[]) {
    const step = new Fields(asObject(module, "modules.json"), "modules.json");
    const type = step.text("type", "").split(".").at(-1) ?? "";
    if (type === "Normalize") normalize = true;
    else if (type === "Pooling") pooling = await readPooling(checkpoint, `${step.text("path", "")}/config.json`);
    else if (type !== "Transformer") {
      throw new UnsupportedError(`the step "${type}" after the encoder is not supported`, {
        kind: "unsupported-feature",
        where: "modules.json",
        why: "supported: Transformer, Pooling, Normalize",
      });
    }
  }
  return { pooling, normalize };
}

async function readPooling(checkpoint: Checkpoint, file: string): Promise<Pooling> {
  const fields = new Fields(asObject((await readBeside(checkpoint, file)) ?? {}, file), file);
  const flags = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
  const on = flags.filter((flag) => fields.boolean(`pooling_mode_${flag}`, false)).map((flag) => flag.split("_")[0]);
  const named = fields.text("pooling_mode", on.length === 0 ? "mean" : on.join(" and "));
  return poolingNamed(named, file);
}

function poolingNamed(name: string, where: string): Pooling {
  if (name === "mean" || name === "cls") return name;
  throw new UnsupportedError(`pooling "${name}" is not supported`, {
    kind: "unsupported-feature",
    where,
    why: "supported: mean, cls",
  });
}

const wrong = (where: string, why: string) =>
  new FileError("a file of the model holds the wrong thing", { kind: "bad-json", where, why });

function asObject(value: unknown, where: string): Metadata {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Metadata;
  throw wrong(where, "wanted an object");
}

/** The vector of a text from those of its tokens, [tokens, width]. Sums are in binary64. */
export function pool(vectors: Float32Array, tokens: number, { pooling, normalize }: Sentence): Float32Array {
  const width = vectors.length / tokens;
  const sum = new Float64Array(width);
  const counted = pooling === "cls" ? 1 : tokens;
  for (let i = 0; i < counted * width; i++) sum[i % width] += vectors[i];
  const mean = sum.map((x) => x / counted);
  // As torch.nn.functional.normalize, which divides by no less than 1e-12.
  const length = normalize ? Math.max(Math.hypot(...mean), 1e-12) : 1;
  return Float32Array.from(mean, (x) => x / length);
}
