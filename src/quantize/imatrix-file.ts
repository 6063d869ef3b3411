/**
 * Importance matrices on disk, in llama.cpp's two forms (tools/imatrix): the older is imatrix-dat.ts; in GGUF there are for the weight NAME of a GGUF model the f32 tensors
 * NAME.in_sum2, the sum of x^2 over the tokens seen for every input channel, and NAME.counts, how many tokens that were. So a
 * matrix collected here serves llama-quantize, and one collected there serves `--method imatrix`.
 */
import { readFile } from "node:fs/promises";
import { fileError } from "../checkpoints/file.js";
import { containers, gguf, openCheckpoint, openTokenizer } from "../checkpoints/index.js";
import { writeFileWhole } from "../checkpoints/output.js";
import { FileError } from "../errors.js";
import { schemes } from "../formats/index.js";
import { createBackend } from "../kernels/index.js";
import { architectureOf, createLayerRunner, describeModel, nameIn, readWeights } from "../models/index.js";
import { columnsOf, dequantize, quantize } from "../tensor/index.js";
import { calibrationWindows, observeHead, observeLayer } from "./calibration.js";
import { calibrationIds } from "./calibration-text.js";
import { imatrixDat, parseImatrixDat } from "./imatrix-dat.js";
import { type CalibrationSettings, DEFAULT_CALIBRATION } from "./recipe.js";
import type { InputStatistics } from "./statistics.js";

/** What is known of the inputs of weights, by the weight's name in GGUF. Of a file only the mean squares. */
export type Importance = ReadonlyMap<string, InputStatistics>;

export interface CollectOptions {
  /** A model; see openCheckpoint. */
  readonly input: string;
  readonly text: string;
  readonly calibration?: Partial<Pick<CalibrationSettings, "windows" | "window">>;
  readonly backend?: string;
  readonly threads?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Runs the model on windows of the text, layer by layer, and adds up the squares of every linear map's inputs. */
export async function collectImportance(options: CollectOptions): Promise<Importance> {
  const checkpoint = await openCheckpoint(options.input);
  const backend = await createBackend(options.backend ?? "wasm", { threads: options.threads });
  try {
    const architecture = architectureOf(checkpoint);
    const { parts } = architecture;
    const { config, specs } = await describeModel(checkpoint, architecture);
    const settings = { ...DEFAULT_CALIBRATION, ...options.calibration };
    const window = Math.min(settings.window, config.context);
    const closed = architecture.kind === "encoder" ? window : undefined;
    const ids = await calibrationIds(await openTokenizer(checkpoint), options.text, closed);
    const windows = calibrationWindows(ids, { ...settings, window }, architecture.kind);
    const specOf = (role: string) => specs.find((spec) => spec.role === role);
    const load = (wanted: (role: string) => boolean) =>
      readWeights(
        checkpoint,
        specs.filter(({ role }) => wanted(role)),
      );
    const runner = createLayerRunner({ backend, architecture, config, window });
    const result = new Map<string, InputStatistics>();
    const add = (role: string, statistics: InputStatistics | undefined) => {
      const spec = specOf(role);
      const name = spec && nameIn("gguf", spec);
      if (name && statistics) result.set(name, statistics);
    };
    let hidden = runner.embed(await load((role) => parts.before.includes(role)), windows);
    for (let layer = 0; layer < config.layers; layer++) {
      options.onProgress?.(layer, config.layers);
      const loaded = runner.load(layer, await load((role) => role.startsWith(`layers.${layer}.`)));
      const groups = parts.linears(config);
      const { outputs, statistics } = observeLayer(runner, loaded, hidden, groups, "moments");
      loaded.dispose();
      hidden = outputs;
      for (const { roles } of groups)
        for (const role of roles) add(`layers.${layer}.${role}`, statistics.get(roles[0]));
      await new Promise((resolve) => setTimeout(resolve));
    }
    const { head } = parts;
    if (head) {
      const before = await load((role) => head.before.includes(role));
      add(head.role(config), observeHead(runner, before, hidden, "moments"));
    }
    options.onProgress?.(config.layers, config.layers);
    runner.dispose();
    return result;
  } finally {
    await backend.dispose();
    await checkpoint.close();
  }
}

/** Writes an importance matrix, as `.dat` or else GGUF by the name of the file; `dataset` says what text it came from. */
export async function writeImatrix(path: string, importance: Importance, dataset: string, window = 512): Promise<void> {
  const f32 = schemes.get("f32");
  const tensors = [...importance].flatMap(([name, { columns, tokens, meanSquare }]) => [
    {
      name: `${name}.in_sum2`,
      scheme: f32,
      shape: [1, columns],
      values: Float32Array.from(meanSquare, (x) => x * tokens),
    },
    { name: `${name}.counts`, scheme: f32, shape: [1, 1], values: Float32Array.of(tokens) },
  ]);
  const tokens = Math.max(0, ...[...importance.values()].map((one) => one.tokens));
  const chunks = Math.ceil(tokens / window);
  if (path.toLowerCase().endsWith(".dat")) {
    const bytes = imatrixDat(importance, dataset, chunks);
    return writeFileWhole(path, [], (sink) => sink.write(0, bytes));
  }
  const metadata = {
    "general.type": gguf.string("imatrix"),
    "imatrix.datasets": gguf.array("string", [dataset]),
    "imatrix.chunk_count": gguf.u32(chunks),
    "imatrix.chunk_size": gguf.u32(window),
  };
  const produce = async (_: unknown, index: number) => quantize(tensors[index].values, tensors[index].shape, f32);
  await containers.get("gguf").write(path, { metadata, tensors, produce });
}

async function readDat(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileError(error, `cannot read ${path}`, { where: path });
  }
}

/** Reads an importance matrix of either form. FileError for a file of another kind or with sums that cannot be. */
export async function readImatrix(path: string): Promise<Importance> {
  const isGguf = await containers.get("gguf").detect(path);
  if (!isGguf && !(await containers.get("safetensors").detect(path))) return parseImatrixDat(await readDat(path), path);
  const file = await openCheckpoint(path);
  try {
    if (file.metadata["general.type"] !== "imatrix") {
      throw new FileError("this is no importance matrix", {
        where: path,
        why: `"general.type" is ${JSON.stringify(file.metadata["general.type"] ?? null)}, wanted "imatrix"`,
        try: "bitloom imatrix, or llama-imatrix",
      });
    }
    const result = new Map<string, InputStatistics>();
    for (const { name, shape } of file.tensors) {
      if (!name.endsWith(".in_sum2")) continue;
      const weight = name.slice(0, -".in_sum2".length);
      const sums = dequantize(await file.read(name));
      const [tokens] = dequantize(await file.read(`${weight}.counts`));
      const columns = columnsOf(shape);
      const bad = sums.findIndex((x) => !(x >= 0 && Number.isFinite(x)));
      if (sums.length !== columns || bad >= 0 || !(tokens > 0)) {
        const why =
          bad >= 0 ? `sum ${bad} is ${sums[bad]}` : `${sums.length} sums for ${columns} channels, ${tokens} tokens`;
        throw new FileError(`the importance of "${weight}" cannot be used`, { where: path, why });
      }
      const meanSquare = Float64Array.from(sums, (x) => x / tokens);
      const none = new Float64Array(0);
      result.set(weight, { columns, tokens, meanSquare, meanAbsolute: none, maxAbsolute: none });
    }
    return result;
  } finally {
    await file.close();
  }
}
