/**
 * A run tried out on its first layer before hours are spent on the others: the finished layer is written as the output will be
 * written, read again, and run on the first window beside the original. What would go wrong at the end goes wrong here.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Checkpoint, SideFile } from "../checkpoints/checkpoint.js";
import { openCheckpoint } from "../checkpoints/index.js";
import { NumericError } from "../errors.js";
import type { Backend } from "../kernels/index.js";
import { createLayerRunner, type LinearRecords, readWeights } from "../models/index.js";
import type { PackedTensor } from "../tensor/index.js";
import { relativeSquaredError } from "./errors.js";
import type { OutputFiles } from "./output.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";

export interface Rehearsal {
  /** The part that was tried: "layers.0". */
  readonly unit: string;
  readonly tensors: number;
  /** Of the file that was written, read again and removed. */
  readonly bytes: number;
  /** ||y - y'||^2 / ||y||^2 of the layer's outputs; absent if a transform moves them on purpose. */
  readonly outputError?: number;
  readonly seconds: number;
}

export interface RehearsalOptions {
  readonly plan: QuantizePlan;
  readonly backend: Backend;
  readonly layer: number;
  /** The layer's as planned, and as they came out. */
  readonly tensors: readonly PlannedTensor[];
  readonly written: readonly PlannedTensor[];
  /** What linear maps do in the output. */
  readonly linears: LinearRecords;
  readonly files: OutputFiles;
  readonly produce: (planned: PlannedTensor) => Promise<PackedTensor>;
  /** What the layer is run on. */
  readonly ids: readonly number[];
}

/** Tokens that the layer is run on. */
const TOKENS = 64;

export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  const begin = performance.now();
  const { plan, layer, written: tensors, files, produce } = options;
  const folder = await mkdtemp(join(tmpdir(), "bitloom-rehearsal-"));
  try {
    const path = join(folder, plan.container.name === "gguf" ? "first.gguf" : "first");
    const content = {
      metadata: files.metadata,
      tensors,
      produce: (_: unknown, index: number) => produce(tensors[index]),
    };
    const sideFiles: readonly SideFile[] = files.sideFiles;
    const { bytes } = await plan.container.write(path, content, { sideFiles });
    const written = await openCheckpoint(path);
    try {
      const outputError = await compareLayer(options, written);
      const known = plan.recipe.transforms.length === 0 ? { outputError } : {};
      const seconds = (performance.now() - begin) / 1000;
      return { unit: `layers.${layer}`, tensors: tensors.length, bytes, ...known, seconds };
    } finally {
      await written.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The layer from the file that was written beside the original's, on the same hidden states. */
async function compareLayer(options: RehearsalOptions, written: Checkpoint) {
  const { plan, backend, layer, tensors, written: made, linears: finished, ids } = options;
  const { checkpoint, architecture, config } = plan;
  const specs = architecture.weights(config);
  const before = specs.filter(({ role }) => architecture.parts.before.includes(role));
  const [own, after] = [tensors, made].map((list) => list.flatMap(({ spec }) => (spec ? [spec] : [])));
  const text = ids.slice(0, TOKENS);
  const runner = createLayerRunner({ backend, architecture, config, window: text.length });
  try {
    const [states] = runner.embed(await readWeights(checkpoint, before), [text]);
    const outputs: Float32Array[] = [];
    for (const [source, members, linears] of [
      [checkpoint, own, plan.linears] as const,
      [written, after, finished] as const,
    ]) {
      const loaded = runner.load(layer, await readWeights(source, members), linears);
      outputs.push(loaded.run(states));
      loaded.dispose();
    }
    const [wanted, got] = outputs;
    if (!got.every(Number.isFinite)) {
      throw new NumericError(`the first quantized layer gives numbers that are not finite`, {
        where: `layers.${layer} of ${checkpoint.path}`,
        why: wanted.every(Number.isFinite) ? "the original's are finite" : "the original's are not finite either",
      });
    }
    return relativeSquaredError(wanted, got);
  } finally {
    runner.dispose();
  }
}
