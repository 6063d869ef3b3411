import { InputError, NumericError } from "../../errors.js";
import { compareEmbeddings, type EmbeddingComparison } from "../../evaluate/index.js";
import type { TextEncoder } from "../../models/index.js";
import { type Context, command } from "../command.js";
import {
  ACTIVATIONS_OR_SCHEME,
  ENGINE_OPTIONS,
  type Engine,
  EXACTNESS,
  engineOf,
  engineSchema,
  engineText,
  withBackend,
  withEncoder,
} from "../engine.js";
import { MODEL, readText } from "../model-path.js";
import { byteSize, duration, grouped, percent, significant } from "../numbers.js";
import { decimal, requiredText, text } from "../option.js";
import { closed, count, interval, list, number, string } from "../schema.js";
import { pairs } from "../table.js";
import { printable } from "../terminal.js";

interface Result extends Partial<Omit<EmbeddingComparison, "texts">> {
  readonly model: string;
  readonly against?: string;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly activations: string;
  readonly texts: number;
  readonly tokens: number;
  readonly shortened: number;
  readonly dimensions: number;
  readonly vectors: readonly (readonly number[])[];
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly engine: Engine;
}

const vector = list(number());

const output = closed(
  {
    model: string(),
    bytes: count("of the files that hold tensors"),
    bitsPerWeight: number("bits of tensor data for each number, counted from the file"),
    activations: string("how activations entered the products: f32, int8, or the scheme that they were rounded to"),
    texts: count("lines that are not blank"),
    tokens: count("that the vectors were made of"),
    shortened: count("texts that were longer than the model takes; their ends were left out"),
    dimensions: count("length of a vector"),
    vectors: list(vector, "one for each text, in their order"),
    seconds: number("in the model's own forward passes"),
    tokensPerSecond: number(),
    engine: engineSchema,
  },
  {
    against: string("the base; with it come the fields below"),
    cosineError: number("mean of 1 - cos(v, v') over texts, v' being the base's vector"),
    cosineErrorCi95: interval("95 % interval of cosineError"),
    worstCosine: number("cos(v, v') of the text whose vector turned most"),
    top1Agreement: number("share of texts whose nearest other text is the same as with the base"),
    top1Ci95: interval("95 % interval of top1Agreement"),
    top10Overlap: number("mean share of the ten nearest texts that both find"),
    top10Ci95: interval("95 % interval of top10Overlap"),
  },
);

const options = {
  text: requiredText("--text <file>", "UTF-8 text, one text a line, blank lines left out; - reads standard input"),
  against: text("--against <base>", "compare with the vectors of this model, text by text"),
  maxCosineError: decimal("--max-cosine-error <e>", "exit with 5 if the error is larger; needs --against", { min: 0 }),
  activations: ACTIVATIONS_OR_SCHEME,
  exactness: EXACTNESS,
  ...ENGINE_OPTIONS,
};

interface Run {
  readonly vectors: readonly Float32Array[];
  readonly tokens: number;
  readonly shortened: number;
  readonly seconds: number;
}

async function embedAll(context: Context, encoder: TextEncoder, texts: readonly string[], label: string): Promise<Run> {
  context.progress.start(label, texts.length);
  const vectors: Float32Array[] = [];
  let [tokens, shortened, milliseconds] = [0, 0, 0];
  for (const [index, line] of texts.entries()) {
    const begin = performance.now();
    const made = encoder.embed(line);
    milliseconds += performance.now() - begin;
    vectors.push(made.vector);
    tokens += made.tokens;
    if (made.textTokens > made.tokens) shortened++;
    context.progress.update(index + 1);
    await context.emit({ index, tokens: made.tokens, textTokens: made.textTokens, vector: [...made.vector] });
  }
  return { vectors, tokens, shortened, seconds: milliseconds / 1000 };
}

function render(result: Result): string {
  if (result.against === undefined) return `${result.vectors.map((one) => one.join(" ")).join("\n")}\n`;
  const { cosineError = 0, cosineErrorCi95 = [], worstCosine = 1, top1Agreement = 1, top10Overlap = 1 } = result;
  const range = (ends: readonly number[] = [], show: (x: number) => string) =>
    ends.map((end) => show(end)).join(" to ");
  const { engine, texts, tokens, shortened } = result;
  return pairs([
    ["model", printable(result.model)],
    [
      "size",
      `${grouped(result.bytes)} bytes (${byteSize(result.bytes)}), ${result.bitsPerWeight.toFixed(3)} bits each`,
    ],
    ["texts", `${grouped(texts)} with ${grouped(tokens)} tokens, ${grouped(shortened)} shortened`],
    ["against", printable(result.against)],
    ["cosine error", `${significant(cosineError, 4)}  (95 %: ${range(cosineErrorCi95, (x) => significant(x, 3))})`],
    ["worst cosine", worstCosine.toFixed(6)],
    ["same nearest", `${percent(top1Agreement)}  (95 %: ${range(result.top1Ci95, percent)})`],
    ["same nearest ten", `${percent(top10Overlap)}  (95 %: ${range(result.top10Ci95, percent)})`],
    ["speed", `${significant(result.tokensPerSecond, 3)} tokens per second, ${duration(result.seconds)}`],
    ["engine", engineText(engine)],
    ...engine.fallbacks.map((one) => ["", one] as const),
  ]);
}

export const embed = command({
  name: "embed",
  summary: "make vectors of texts, and compare with a base",
  description:
    "For encoders (BERT and its kind): one vector for each line of the text, pooled and normalized as the model's files " +
    "say, numbers parted by spaces. A text longer than the model takes loses its end. With --against, how far the " +
    "vectors turned and whether the nearest texts are the same is printed in place of the vectors.",
  arguments: [MODEL],
  options,
  examples: [
    "bitloom embed ./all-MiniLM-L6-v2 --text sentences.txt --json",
    "bitloom embed minilm-q4_0.gguf --text sentences.txt --against ./all-MiniLM-L6-v2",
    "echo 'a whale' | bitloom embed ./all-MiniLM-L6-v2 --text -",
  ],
  output,
  parts: {
    name: "vector",
    description: "a text has its vector",
    output: closed({
      index: count("of the text, from 0"),
      tokens: count("that the vector was made of"),
      textTokens: count("that the text has"),
      vector,
    }),
  },
  async run(context, [model], { text: file, against, activations, maxCosineError, ...engine }): Promise<Result> {
    if (maxCosineError !== undefined && against === undefined) {
      const why = "the error is measured from a base model";
      throw new InputError("--max-cosine-error needs --against", { kind: "options-disagree", why });
    }
    const texts = (await readText(file)).split(/\r?\n/).filter((line) => line.trim() !== "");
    if (texts.length === 0) throw new InputError("there is no text to embed", { kind: "text-too-short", where: file });
    return withBackend(engine, async (backend) => {
      const own = await withEncoder(
        backend,
        model,
        async (encoder) => ({ ...(await embedAll(context, encoder, texts, "embedding")), size: encoder.size }),
        activations,
      );
      const base =
        against && (await withEncoder(backend, against, (one) => embedAll(silent(context), one, texts, "base")));
      const { texts: _counted, ...comparison } = base ? compareEmbeddings(base.vectors, own.vectors) : { texts: 0 };
      const { vectors, tokens, shortened, seconds, size } = own;
      return {
        ...{ model, bytes: size.bytes, bitsPerWeight: size.bitsPerWeight, activations, texts: texts.length },
        ...{ tokens, shortened, dimensions: vectors[0].length, vectors: vectors.map((one) => [...one]) },
        ...{ seconds, tokensPerSecond: tokens / seconds, engine: engineOf(backend.info) },
        ...(base && { against, ...comparison }),
      };
    });
  },
  render,
  verdict({ cosineError }, { maxCosineError }) {
    if (maxCosineError === undefined || cosineError === undefined || cosineError <= maxCosineError) return undefined;
    return new NumericError("the model misses the quality limit", {
      kind: "quality-limit",
      where: "--max-cosine-error",
      why: `the error is ${significant(cosineError, 4)}, wanted at most ${maxCosineError}`,
      try: "a scheme with more bits",
    });
  },
});

/** The base's vectors are no part of the result. */
const silent = (context: Context): Context => ({ ...context, emit: async () => {} });
