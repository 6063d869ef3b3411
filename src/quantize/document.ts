/** docs/methods.md, made from the registries and from what `bitloom bench quality` measured. */
import { type OptionRecords, rangeOf, readOptions } from "../options.js";
import { activationMethods } from "./activations/index.js";
import { compensations } from "./compensations.js";
import { methods } from "./methods.js";
import { DEFAULT_CALIBRATION } from "./recipe.js";
import type { Needs } from "./statistics.js";
import { transforms } from "./transforms.js";

/** One measurement: a model quantized by a method to a scheme, against the original. Nats per token. */
export interface QualityRow {
  readonly model: string;
  /** A method, with transforms before it: "awq+gptq". */
  readonly method: string;
  readonly scheme: string;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly tokens: number;
  readonly perplexity: number;
  readonly deltaNll: number;
  readonly ci95: readonly [number, number];
  readonly kl: number;
  readonly klCi95: readonly [number, number];
  readonly top1Agreement: number;
  readonly seconds: number;
  /** Of calibration text, where fewer or more than the recipe's were asked for. */
  readonly windows?: number;
}

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly options: OptionRecords;
  needs(options: never): Needs;
}

const line = (cells: readonly (string | number)[]) =>
  `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;

const markdown = (head: readonly string[], rows: readonly (readonly (string | number)[])[]) =>
  [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");

function section({ name, summary, source, options, needs }: Entry): string {
  const rows = Object.entries(options).map(
    ([option, record]) =>
      `| \`${option}\` | ${record.default} | ${rangeOf(record)} | ${record.summary.replaceAll("|", "\\|")} |`,
  );
  const wants = needs(readOptions(options, {}, name) as never);
  const table = ["| option | default | takes | |", "| --- | --- | --- | --- |", ...rows].join("\n");
  return [
    `### ${name}`,
    `${summary}.`,
    `Needs: ${wants}. Source: ${source}.`,
    ...(rows.length > 0 ? [table] : []),
  ].join("\n\n");
}

/** Best first within a scheme; the ratio is to round to nearest under the same scheme. */
function measured(rows: readonly QualityRow[]): string {
  const titleOf = ({ model, tokens }: QualityRow) => `${model}, ${tokens} tokens`;
  return [...new Set(rows.map(titleOf))]
    .map((title) => {
      const own = rows.filter((row) => titleOf(row) === title);
      const schemes = [...new Set(own.map(({ scheme }) => scheme))];
      const cells = schemes.flatMap((scheme) => {
        const members = own.filter((row) => row.scheme === scheme).sort((a, b) => a.kl - b.kl);
        const rtn = members.find(({ method }) => method === "rtn");
        return members.map((row) => [
          scheme,
          row.windows === undefined ? row.method : `${row.method} (${row.windows})`,
          row.bitsPerWeight.toFixed(3),
          row.perplexity.toFixed(3),
          `${row.deltaNll.toFixed(4)} (${row.ci95.map((x) => x.toFixed(4)).join(" to ")})`,
          `${row.kl.toFixed(5)} (${row.klCi95.map((x) => x.toFixed(5)).join(" to ")})`,
          rtn ? `${(100 * (row.kl / rtn.kl - 1)).toFixed(0)} %` : "",
          `${(100 * row.top1Agreement).toFixed(1)} %`,
        ]);
      });
      const head = ["scheme", "method", "bits / weight", "perplexity", "nats / token", "KL", "KL to rtn", "top-1"];
      return [`### ${title}`, ...gridOf(own[0].model), markdown(head, cells)].join("\n\n");
    })
    .join("\n\n");
}

/** What must be known of a base file that is named after a scheme: its weights were rounded before. */
function gridOf(model: string): readonly string[] {
  const scheme = /\.(Q\d_\w+)\.gguf$/.exec(model)?.[1];
  return scheme
    ? [`The base file is ${scheme}: its weights lie on that grid already, so no row says what 16 bits would lose.`]
    : [];
}

/** Rows of recipes that change how keys and values are held, after transforms that leave the model as it was: "ksort+cache". */
const aboutCache = ({ method }: QualityRow) => method.split("+").at(-1) === "cache";

/** In the order of the file: the scheme names the cache. */
function cachesMeasured(rows: readonly QualityRow[]): string {
  const cells = rows.map(({ model, tokens, method, scheme, deltaNll, ci95, kl, top1Agreement }) => [
    ...[
      `${model}, ${tokens} tokens`,
      `\`${scheme}\`${method === "cache" ? "" : `, ${method.replace(/\+cache$/, "")}`}`,
    ],
    `${deltaNll.toFixed(5)} (${ci95.map((x) => x.toFixed(5)).join(" to ")})`,
    ...[kl.toPrecision(3), `${(100 * top1Agreement).toFixed(1)} %`],
  ]);
  return markdown(["model", "cache", "nats / token", "KL", "top-1"], cells);
}

const { windows, window } = DEFAULT_CALIBRATION;
const sequential = "each layer seeing the outputs of the quantized layers before it";

/** The page. `rows` come from bench/quality.json. */
export const methodsPage = (rows: readonly QualityRow[]): string => `# Quantization methods

Generated by \`npm run docs\` from the records in \`src/quantize/\` and the measurements in \`bench/quality.json\`
(\`bitloom bench quality demo --keep bench/quality.json\`).

A method chooses scales and codes; a transform rescales, shifts, rotates or reorders the channels of inputs and changes the
weights around them along, so that the model's outputs stay as they were. Rotations and orders (\`rotate\`, \`hadamard\`,
\`ksort\`) need no data and come first in a recipe; \`hadamard\`, and \`smoothquant\` and \`osplus\` with \`online\`, leave steps for
run time, which only a folder can hold. Both work on every scheme that has scales; \`f32\`, \`f16\` and \`bf16\` are rounded to nearest.
What a method needs to know of the activations is collected layer by layer from a text (the demo model's comes from the part
of Moby Dick that it was trained on): \`squares\` is the mean square of every input channel, \`moments\` its mean and largest
magnitude too, \`layers\` also the hidden states before each layer, \`hessian\` the mean of x x^T as well. Layers in work are kept in a folder \`.OUTPUT.parts\` beside the output
until it is written; a run that was killed takes them up again and ends in the same bytes.

## Methods

${methods.entries.map(section).join("\n\n")}

## Transforms

${transforms.entries.map(section).join("\n\n")}

## Activations

How the inputs of linear maps are rounded: \`--activations SCHEME\` (dynamic) or \`--activations METHOD:SCHEME\`, or a step
\`{"activations": METHOD, "scheme": SCHEME, "tensors": ..., "options": ...}\` of a recipe; the first step that fits all maps which
share an input takes it. What they do when the model runs stands in the output's metadata under \`bitloom.linears\`, an object
from the role of a linear map to its steps. Other engines know nothing of it: a rounding only makes them compute more exactly than
planned, so GGUF may hold it; where weights have changed for a step (scales, columns apart), GGUF is refused and a folder
takes it.

A token's largest number sets the steps of all its others. Where few numbers are far beyond the rest, as in SmolLM2-135M,
those cost more than all else: \`dynamic\` with \`outliers\` 4 leaves them as they are, without calibration and in any
container; \`llm-int8\` also keeps weights of channels that often hold them in 16 bits.

${activationMethods.entries.map(section).join("\n\n")}

## Compensations

What is stored beside a quantized matrix to make up for its error: \`--compensate NAME\`, or a step
\`{"compensate": NAME, "tensors": ..., "options": ...}\`. It goes with every method and scheme, and into folders only.

${compensations.entries.map(section).join("\n\n")}

## Measured

A method is written \`transform+method+compensation/activations\`. Against the original model on text that neither training nor calibration saw, paired token by token, with 95 % intervals
(batch means). All matrices are quantized, embedding and head included (but in the rows w4a8, where both stay as in the file). Calibration: at most ${windows} windows of
${window} tokens, or as many windows as stand behind a method's name, ${sequential}.

A p-norm below 1 is a poor guide to scales at few bits. Minimised over all scales of \`int3-g64\` (\`mse\` with that norm; demo model,
4,096 tokens) it gives a KL of 0.326 at p = 0.7, 0.230 at 1, 0.170 at 1.5 and 0.149 at 2, where the scheme's rule gives 0.300. So
\`hqq\` starts from scales of least squared error and leaves them alone; without offsets it is that start, where its p-norm is
no larger than the rule's. On the same tokens the authors' own solver (3 bits, groups of 64, a zero point that is no
integer) takes KL from 0.165 to 0.149.

${rows.length > 0 ? measured(rows.filter((row) => !aboutCache(row))) : "Nothing has been measured yet."}

## Keys and values

\`--cache SCHEME\`, or a step \`{"cache": "keys=SCHEME:AXIS,values=SCHEME:AXIS,window=N,rotate"}\` of a recipe, holds the keys and values
of past positions packed (src/models/kv-cache.ts); weights are as they were. Only positions behind the window of newest ones are
packed, a whole chunk at a time; \`channel\` shares scales among the positions of a channel, \`token\` among the channels of a
position; \`rotate\` turns queries and keys by a Hadamard matrix first; \`ksort\` is the transform, before the cache. Liu et al. 2024 (KIVI), arXiv 2402.02750. Against the same
model with its cache in f32, in windows of ${window} tokens:

${cachesMeasured(rows.filter(aboutCache))}
`;
