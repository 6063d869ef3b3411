/**
 * What every method costs an encoder: each file is written, read again, and its vectors of sentences that calibration has not
 * seen are compared with the original's.
 *
 *     node dist/bench/encoder-quality.js MODEL [--schemes q4_0,int3-g64] [--methods rtn,gptq] [--texts N]
 *         [--recipe FILE]... [--text FILE] [--calibrate FILE] [--windows N] [--name NAME] [--out FILE]
 *
 * The rows that are kept are those of all-MiniLM-L6-v2 (npm run fetch:minilm) with --windows 8, and those of the recipes in
 * bench/recipes/. Texts are the sentences of FILE with 40 to 160 characters, each once. A recipe is one row, named after its
 * file, with the windows that it says itself; beside recipes, methods are measured only where they are named. With --out the
 * results are kept in a JSON file, from which docs/methods.md is made; rows of other models, schemes and methods that stand
 * there already stay.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { containers } from "../src/checkpoints/index.js";
import { compareEmbeddings } from "../src/evaluate/index.js";
import { schemes } from "../src/formats/index.js";
import { createBackend } from "../src/kernels/index.js";
import { openEncoder } from "../src/models/index.js";
import {
  type EncoderQualityRow,
  methods,
  type QuantizeOptions,
  quantizeModel,
  type Recipe,
} from "../src/quantize/index.js";

const demo = fileURLToPath(new URL("../../demo", import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    schemes: { type: "string", default: "q4_0,q4_1,int4-g32,int3-g64" },
    methods: { type: "string" },
    recipe: { type: "string", multiple: true, default: [] },
    texts: { type: "string", default: "240" },
    text: { type: "string", default: join(demo, "held-out.txt") },
    calibrate: { type: "string", default: join(demo, "calibration.txt") },
    windows: { type: "string", default: "32" },
    threads: { type: "string", default: String(cpus().length) },
    name: { type: "string" },
    out: { type: "string" },
  },
});

const [input] = positionals;
const name = options.name ?? basename(input);
const sentences = [
  ...new Set(
    readFileSync(options.text, "utf8")
      .replace(/\s+/g, " ")
      .split(/(?<=[.!?]) /),
  ),
]
  .filter(({ length }) => length >= 40 && length <= 160)
  .slice(0, Number(options.texts));
const folder = mkdtempSync(join(tmpdir(), "bitloom-encoder-quality-"));
const backend = await createBackend("wasm", { threads: Number(options.threads) });

async function vectorsOf(path: string): Promise<Float32Array[]> {
  const encoder = await openEncoder(path, { backend });
  try {
    return sentences.map((text) => encoder.embed(text).vector);
  } finally {
    encoder.dispose();
  }
}

interface Case {
  readonly scheme: string;
  readonly method: string;
  readonly how: Pick<QuantizeOptions, "recipe" | "scheme" | "method" | "calibration">;
}

function methodCase(scheme: string, method: string): Case {
  const calibration = { windows: Number(options.windows) };
  return { scheme, method, how: { scheme, method: methods.get(method).name, calibration } };
}

function recipeCase(file: string): Case {
  const recipe = JSON.parse(readFileSync(file, "utf8")) as Recipe;
  const scheme = recipe.steps.find((step) => "quantize" in step)?.scheme ?? "";
  return { scheme, method: basename(file, ".json"), how: { recipe } };
}

async function measure(base: readonly Float32Array[], { scheme, method, how }: Case): Promise<EncoderQualityRow> {
  const fitsGguf = !how.recipe && containers.get("gguf").canHold(schemes.get(scheme), [256, 256]) === true;
  const output = join(folder, fitsGguf ? "model.gguf" : "model");
  const { bytes, bitsPerWeight, seconds } = await quantizeModel({
    ...{ ...how, input, output, threads: Number(options.threads) },
    calibrationText: async () => readFileSync(options.calibrate, "utf8"),
  });
  const comparison = compareEmbeddings(base, await vectorsOf(output));
  return { model: name, method, scheme, bytes, bitsPerWeight, ...comparison, seconds };
}

function keep(file: string, row: EncoderQualityRow): void {
  const rows = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { rows: EncoderQualityRow[] }).rows : [];
  const keyOf = ({ model, scheme, method }: EncoderQualityRow) => `${model} ${scheme} ${method}`;
  const all = [...rows.filter((one) => keyOf(one) !== keyOf(row)), row];
  writeFileSync(file, `${JSON.stringify({ rows: all }, null, 2)}\n`);
}

try {
  const base = await vectorsOf(input);
  const named = options.methods ?? (options.recipe.length > 0 ? undefined : "rtn,mse,hqq,imatrix,gptq");
  const cases = (named?.split(",") ?? []).flatMap((method) =>
    options.schemes.split(",").map((scheme) => methodCase(scheme, method)),
  );
  for (const one of [...cases, ...options.recipe.map(recipeCase)]) {
    const row = await measure(base, one);
    if (options.out) keep(options.out, row);
    const quality = `cosine error ${row.cosineError.toFixed(5)}  same nearest ${row.top1Agreement.toFixed(3)}`;
    process.stdout.write(`${row.scheme.padEnd(10)} ${row.method.padEnd(10)} ${quality}  ${row.seconds.toFixed(1)} s\n`);
  }
} finally {
  await backend.dispose();
  rmSync(folder, { recursive: true, force: true });
}
