/** Reading GGUF: the header tells everything but the data; a tensor's blocks become planes when it is asked for. */
import { UnsupportedError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import { allocatePlanes, columnsOf, type PackedTensor, rowsOf } from "../../tensor/index.js";
import type { ByteSource, Checkpoint, TensorEntry } from "../checkpoint.js";
import { place } from "../source.js";
import { entryNamed, readableScheme } from "../tensors.js";
import { type GgufTensor, readHeader } from "./header.js";
import { tensorTypeNamed } from "./types.js";
import { plainValue } from "./values.js";

/** Opens a GGUF file over any byte source; the checkpoint owns the source from then on. */
export async function openGguf(source: ByteSource): Promise<Checkpoint> {
  const { keyValues, tensors } = await readHeader(source);
  const parts = keyValues.get("split.count")?.value;
  if (typeof parts === "number" && parts > 1) {
    throw new UnsupportedError("this is one part of a model in several GGUF files", {
      kind: "unsupported-version",
      where: place(source.name),
      why: `"split.count" is ${parts}`,
      try: "join the parts first: llama-gguf-split --merge FIRST_PART OUT",
    });
  }
  const scales = tensorScales(tensors, source.name);
  const owned = new Set([...scales.values()].map((scale) => scale.name));
  const entries = tensors.filter(({ name }) => !owned.has(name)).map((tensor) => entryOf(tensor, source.name));
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const metadata = [...keyValues].map(([key, value]) => [key, plainValue(value)] as const);
  return {
    container: "gguf",
    path: source.name,
    bytes: source.size,
    // Own properties also for a key such as "__proto__".
    metadata: Object.fromEntries(metadata),
    typedMetadata: Object.fromEntries(keyValues),
    tensors: entries,
    read: async (name) => readTensor(source, entryNamed(byName, name, source.name), scales.get(name)),
    close: () => source.close(),
  };
}

function entryOf({ name, shape, type, bytes, offset }: GgufTensor, file: string): TensorEntry {
  const scheme = type.scheme === undefined || !type.layout ? undefined : schemes.find(type.scheme);
  return { name, shape, scheme, type: type.name, bytes, file, offset };
}

/** The tensor's planes; `scale` is the tensor that holds its own scale, where it has one. */
async function readTensor(source: ByteSource, entry: TensorEntry, scale?: GgufTensor): Promise<PackedTensor> {
  const scheme = readableScheme(entry);
  const data = await source.read(entry.offset, entry.bytes);
  const planes = allocatePlanes(scheme, rowsOf(entry.shape), columnsOf(entry.shape));
  const type = tensorTypeNamed(entry.type);
  type?.layout?.unpack(data, entry.bytes / type.blockBytes, planes);
  if (scheme.scale?.super?.per === "tensor") {
    const one = new Uint8Array(new Float32Array([1]).buffer);
    planes.superScales?.set(scale ? await source.read(scale.offset, 4) : one);
  }
  return { scheme, shape: entry.shape, planes };
}

/**
 * NVFP4 keeps the scale of the whole tensor in a tensor of its own, `blk.0.attn_q.scale` beside `blk.0.attn_q.weight`;
 * without it the scale is 1. It is part of the weight here and not listed by itself: a weight that is written in another
 * scheme has it in its values. Source: llama.cpp src/llama-model.cpp, `load_tensors`.
 */
function tensorScales(tensors: readonly GgufTensor[], file: string): Map<string, GgufTensor> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const scales = new Map<string, GgufTensor>();
  for (const { name, type } of tensors) {
    const scale = name.endsWith(".weight") && byName.get(name.replace(/weight$/, "scale"));
    if (type.scheme !== "nvfp4" || !scale) continue;
    if (scale.type.name !== "F32" || scale.bytes !== 4) {
      throw new UnsupportedError("a tensor scale is not a single f32", {
        kind: "unsupported-feature",
        where: place(file, { tensor: scale.name, offset: scale.offset }),
        why: `${scale.type.name} of shape [${scale.shape.join(", ")}]`,
      });
    }
    scales.set(name, scale);
  }
  return scales;
}
