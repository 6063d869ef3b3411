/**
 * What every method costs in quality, under several schemes: each file is written, read again and compared with the original
 * model token by token on text that neither training nor calibration has seen.
 *
 *     node dist/bench/quality.js [MODEL] [--schemes q4_0,mxfp4] [--methods rtn,gptq,awq+gptq] [--tokens N]
 *         [--text FILE] [--calibrate FILE] [--windows N] [--out FILE] [--json]
 *
 * A method may be preceded by transforms (awq+gptq), followed by a compensation (gptq+lorc) and by how activations are rounded
 * (rtn/int8-row, rtn/llm-int8:int8-row; see --activations of bitloom quantize). With --out the results are kept in a JSON file, from which
 * docs/methods.md is made; rows of other models, schemes and methods that stand there already stay.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { containers } from "../src/checkpoints/index.js";
import { evaluate, liveReference, type Reference, remember } from "../src/evaluate/index.js";
import { schemes } from "../src/formats/index.js";
import { type Backend, createBackend } from "../src/kernels/index.js";
import { type Model, openModel } from "../src/models/index.js";
import { compensations, methods, type QualityRow, quantizeModel, transforms } from "../src/quantize/index.js";

const demo = fileURLToPath(new URL("../../demo", import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    schemes: { type: "string", default: "q4_0,q4_1,q5_0,mxfp4,nvfp4,int3-g64" },
    methods: { type: "string", default: [...methods.names, "awq+imatrix", "awq+gptq"].join(",") },
    tokens: { type: "string", default: "16384" },
    text: { type: "string", default: join(demo, "held-out.txt") },
    calibrate: { type: "string", default: join(demo, "calibration.txt") },
    windows: { type: "string", default: "32" },
    threads: { type: "string", default: String(cpus().length) },
    out: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

interface Setting {
  readonly input: string;
  readonly model: string;
  readonly base: Model;
  readonly backend: Backend;
  readonly ids: readonly number[];
  readonly reference: Reference;
  readonly folder: string;
}

/** Reads "smoothquant+gptq+lorc/int8-row": transforms, method, compensation, and how activations are rounded. */
function parsed(text: string) {
  const [weights, activations] = text.split("/");
  const steps = weights.split("+");
  const compensation = steps.length > 1 && compensations.find(steps[steps.length - 1]) ? steps.pop() : undefined;
  const method = methods.get(steps.pop() ?? "").name;
  return { transforms: steps.map((name) => transforms.get(name).name), method, compensation, activations };
}

async function measure(setting: Setting, scheme: string, method: string): Promise<QualityRow> {
  const { input, model, base, backend, ids, reference, folder } = setting;
  const { transforms: before, method: name, compensation, activations } = parsed(method);
  const fitsGguf = containers.get("gguf").canHold(schemes.get(scheme), [256, 256]) === true;
  const output = join(folder, fitsGguf && !compensation && !activations ? "model.gguf" : "model");
  const written = await quantizeModel({
    input,
    output,
    scheme,
    method: name,
    transforms: before,
    compensation,
    activations,
    calibration: { windows: Number(options.windows) },
    calibrationText: async () => readFileSync(options.calibrate, "utf8"),
    threads: Number(options.threads),
  });
  const quantized = await openModel(output, { backend });
  try {
    const context = Math.min(512, base.config.context);
    const tokens = Number(options.tokens);
    const {
      comparison,
      perplexity,
      tokens: predicted,
    } = evaluate(quantized, { ids, context, tokens, against: reference });
    if (!comparison) throw new Error("an evaluation against a reference has no comparison");
    const { deltaNll, deltaNllCi95, kl, klCi95, top1Agreement } = comparison;
    const { bytes, bitsPerWeight, seconds } = written;
    return {
      model,
      method,
      scheme,
      bytes,
      bitsPerWeight,
      tokens: predicted,
      perplexity,
      deltaNll,
      ci95: deltaNllCi95,
      kl,
      klCi95,
      top1Agreement,
      seconds,
    };
  } finally {
    quantized.dispose();
  }
}

function keep(file: string, rows: readonly QualityRow[]): void {
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { rows: QualityRow[] }).rows : [];
  const keyOf = ({ model, scheme, method }: QualityRow) => `${model} ${scheme} ${method}`;
  const now = new Set(rows.map(keyOf));
  const all = [...before.filter((row) => !now.has(keyOf(row))), ...rows];
  writeFileSync(file, `${JSON.stringify({ rows: all }, null, 2)}\n`);
}

const input = positionals[0] === undefined || positionals[0] === "demo" ? demo : positionals[0];
const folder = mkdtempSync(join(tmpdir(), "bitloom-quality-"));
const backend = await createBackend("wasm", { threads: Number(options.threads) });
try {
  const base = await openModel(input, { backend });
  const ids = base.tokenizer.encode(readFileSync(options.text, "utf8"));
  const reference = remember(liveReference(base, Math.min(512, base.config.context)));
  const setting = { input, model: basename(input), base, backend, ids, reference, folder };
  const rows: QualityRow[] = [];
  for (const scheme of options.schemes.split(",")) {
    for (const method of options.methods.split(",")) {
      const row = await measure(setting, scheme, method);
      rows.push(row);
      if (options.out) keep(options.out, [row]);
      const line = `${scheme.padEnd(10)} ${method.padEnd(12)} KL ${row.kl.toFixed(5)}  nats ${row.deltaNll.toFixed(5)}`;
      process.stderr.write(`${line}  ${row.bitsPerWeight.toFixed(3)} bits  ${row.seconds.toFixed(1)} s\n`);
    }
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ rows }, null, 2)}\n`);
  reference.dispose();
} finally {
  await backend.dispose();
  rmSync(folder, { recursive: true, force: true });
}
