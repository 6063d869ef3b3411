/**
 * A checkpoint seen through a fold: the same model in another basis, its changed tensors made when they are read. What comes
 * after, planning, calibrating and writing, works on it as on any other checkpoint, and never holds more than one tensor.
 */
import type { Checkpoint, Metadata, TensorEntry } from "../checkpoints/checkpoint.js";
import { gguf } from "../checkpoints/index.js";
import { schemes } from "../formats/index.js";
import {
  type Architecture,
  findWeight,
  LINEARS_KEY,
  type LinearRecords,
  linearsMetadata,
  type ModelConfig,
  nameIn,
  readLinears,
  readVector,
  readWeight,
  type WeightSpec,
} from "../models/index.js";
import { dequantize, gatherRows, quantize } from "../tensor/index.js";
import type { ChosenFold } from "./read-recipe.js";
import type { ModelFold } from "./transform.js";

interface Model {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly config: ModelConfig;
}

type Notes = ReadonlyMap<string, Readonly<Record<string, number>>>;

/**
 * The model after the folds of a recipe, one after another, and what they note of its weights. `container` names the
 * output's tensors for patterns.
 */
export async function foldedModel(
  model: Model,
  folds: readonly ChosenFold[],
  seed: number,
  container: string,
): Promise<Model & { readonly notes: Notes }> {
  let now = model;
  const notes = new Map<string, Readonly<Record<string, number>>>();
  for (const { transform, pattern, options } of folds) {
    const { checkpoint, architecture, config } = now;
    const specs = new Map(architecture.weights(config).map((spec) => [spec.role, spec]));
    const specOf = (role: string): WeightSpec => specs.get(role) ?? missing(role);
    const fold = await transform.fold(
      {
        architecture,
        config,
        seed,
        takes: (role) => pattern.test(role) || pattern.test(nameIn(container, specOf(role)) ?? ""),
        has: (role) => specs.has(role) && findWeight(checkpoint, specOf(role)) !== undefined,
        read: (role) => readValues(checkpoint, specOf(role)),
      },
      options,
    );
    now = { architecture, ...foldedCheckpoint(now, specs, fold) };
    for (const [role, noted] of fold.notes ?? []) notes.set(role, { ...notes.get(role), ...noted });
  }
  return { ...now, notes };
}

async function readValues(checkpoint: Checkpoint, spec: WeightSpec): Promise<Float32Array> {
  const packed = spec.shape.length > 1 ? await readWeight(checkpoint, spec) : undefined;
  const values = packed ? dequantize(packed) : await readVector(checkpoint, spec);
  return values ?? missing(spec.role);
}

function missing(role: string): never {
  throw new Error(`the model has no ${role}`);
}

const F32 = schemes.get("f32");

function foldedCheckpoint(model: Model, before: ReadonlyMap<string, WeightSpec>, fold: ModelFold) {
  const { checkpoint, architecture } = model;
  const { container } = checkpoint;
  const config: ModelConfig = { ...model.config, ...fold.config };
  const specs = architecture.weights(config);
  const changed = new Map<string, { readonly spec: WeightSpec; readonly make: () => Promise<Float32Array> }>();
  for (const spec of specs) {
    const [make, name] = [fold.weights.get(spec.role), nameIn(container, spec)];
    if (make && name !== undefined) changed.set(name, { spec, make });
  }
  const kept = checkpoint.tensors.filter(({ name }) => !changed.has(name));
  const made = [...changed].map(([name, { spec }]): TensorEntry => {
    const old = before.get(spec.role);
    const place = (old && findWeight(checkpoint, old)) ?? checkpoint.tensors[0];
    const bytes = 4 * spec.shape.reduce((a, b) => a * b, 1);
    return { name, shape: spec.shape, scheme: F32, type: "F32", bytes, file: place.file, offset: place.offset };
  });
  const view: Checkpoint = {
    ...checkpoint,
    ...foldedMetadata(model, config, fold.linears ?? {}),
    tensors: [...kept, ...made],
    async read(name) {
      const found = changed.get(name);
      if (!found) return checkpoint.read(name);
      const { spec, make } = found;
      const packed = quantize(await make(), spec.shape, F32);
      return container === "gguf" && spec.ggufRows ? gatherRows(packed, spec.ggufRows) : packed;
    },
    close: () => checkpoint.close(),
  };
  return { checkpoint: view, config };
}

/** The metadata with what the configuration and the records of linear maps changed. */
function foldedMetadata(
  { checkpoint, architecture, config: before }: Model,
  config: ModelConfig,
  linears: LinearRecords,
): Pick<Checkpoint, "metadata" | "typedMetadata"> {
  const isGguf = checkpoint.container === "gguf";
  const keysOf = (one: ModelConfig): Metadata => (isGguf ? architecture.toGguf(one) : architecture.toHuggingFace(one));
  const [old, now] = [keysOf(before), keysOf(config)];
  const changed = Object.fromEntries(
    Object.entries(now).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(old[key])),
  );
  if (isGguf && Object.keys(changed).length > 0) {
    throw new Error(`a fold changes ${Object.keys(changed)}, for which there is no way in GGUF`);
  }
  const records = { ...readLinears(checkpoint.metadata, checkpoint.path) };
  for (const [role, record] of Object.entries(linears)) {
    const { input: already = [], ...rest } = records[role] ?? {};
    records[role] = { ...rest, ...record, input: [...already, ...(record.input ?? [])] };
  }
  const text = linearsMetadata(records);
  const more = { ...changed, ...(text !== undefined && { [LINEARS_KEY]: text }) };
  const typed = checkpoint.typedMetadata;
  return {
    metadata: { ...checkpoint.metadata, ...more },
    ...(typed && { typedMetadata: { ...typed, ...(text !== undefined && { [LINEARS_KEY]: gguf.string(text) }) } }),
  };
}
