/**
 * Quantized tensors in a safetensors folder. Tensor X of a scheme with scales is stored as one tensor for each plane,
 * `X.codes`, `X.scales`, ..., and described in config.json:
 *
 *     "quantization_config": {
 *       "quant_method": "bitloom", "version": 1,
 *       "schemes": {"q4_0": {"element": "int4-offset8", "scale": {"format": "f16", "per": 32}}},
 *       "tensors": {"X": {"scheme": "q4_0", "shape": [64, 256]}}
 *     }
 *
 * The definitions under `schemes` are for other readers, and are compared with our own when the folder is read.
 */
import { FileError, UnsupportedError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import type { PlaneLayout } from "../../formats/planes.js";
import type { PlaneName, Scheme, SharedCodec } from "../../formats/scheme.js";
import { columnsOf, rowsOf } from "../../tensor/index.js";
import type { Metadata, MetadataValue, TensorPlan } from "../checkpoint.js";
import { isObject } from "../json.js";
import { place, quote } from "../source.js";
import { planesOf } from "../tensors.js";
import { DTYPES, type Dtype, dtypeNamed, dtypeOfFormat } from "./dtypes.js";

const METHOD = "bitloom";
const VERSION = 1;

/** How a plane is called in the file, after the tensor's name and a dot. */
const SUFFIX: Readonly<Record<PlaneName, string>> = {
  codes: "codes",
  scales: "scales",
  superScales: "super_scales",
  offsets: "offsets",
  superOffsets: "super_offsets",
  tags: "tags",
};

/** One plane as a stored tensor. */
export interface StoredPlane {
  readonly plane: PlaneName;
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Whether the tensor is stored under its own name in a dtype of its own, without a description. */
function isPlain(scheme: Scheme, shape: readonly number[]): Dtype | undefined {
  if (scheme.scale || scheme.offset) return undefined;
  // F4 has no padding: rows that end within a byte go into U8.
  const dtype = DTYPES.find((known) => known.scheme === scheme.name && known.bits === scheme.element.bits);
  return dtype && (columnsOf(shape) * dtype.bits) % 8 === 0 ? dtype : undefined;
}

/** The tensors that hold `plan`: itself, or its planes. */
export function storedPlanes({ name, shape, scheme }: Pick<TensorPlan, "name" | "shape" | "scheme">): StoredPlane[] {
  const plain = isPlain(scheme, shape);
  return planesOf(scheme, shape).map(([plane, layout]) => {
    const bytes = layout.rows * layout.bytesPerRow;
    if (plain) return { plane, name, dtype: plain, shape, bytes };
    return { plane, name: `${name}.${SUFFIX[plane]}`, bytes, ...stored(layout, plane, shape) };
  });
}

/**
 * A plane keeps the tensor's leading axes, or has rows of its own where rows share a number; codes that have no dtype of their
 * own are bytes.
 */
function stored(layout: PlaneLayout, plane: PlaneName, shape: readonly number[]) {
  const own = dtypeOfFormat(layout.format.name);
  const perTensor = plane.startsWith("super") && layout.rows === 1 && layout.codesPerRow === 1;
  const leading = perTensor ? [] : layout.rows === rowsOf(shape) ? shape.slice(0, -1) : [layout.rows];
  const dtype = own ?? (dtypeNamed.get("U8") as Dtype);
  return { dtype, shape: [...leading, own ? layout.codesPerRow : layout.bytesPerRow] };
}

/** `quantization_config` for the tensors of `plans` that need a description; undefined if none does. */
export function describe(plans: readonly TensorPlan[]): Metadata | undefined {
  const described = plans.filter(({ scheme, shape }) => !isPlain(scheme, shape));
  if (described.length === 0) return undefined;
  return {
    quant_method: METHOD,
    version: VERSION,
    schemes: Object.fromEntries(described.map(({ scheme }) => [scheme.name, definition(scheme)])),
    tensors: Object.fromEntries(described.map(({ name, scheme, shape }) => [name, { scheme: scheme.name, shape }])),
  };
}

function definition({ element, scale, offset, tags }: Scheme): Metadata {
  const shared = ({ format, per, rows, super: above }: SharedCodec) => ({
    format: format.name,
    per,
    ...(rows !== undefined && { rows }),
    ...(above && { super: { format: above.format.name, per: above.per } }),
  });
  return {
    element: element.name,
    ...(scale && { scale: shared(scale) }),
    ...(offset && { offset: { kind: offset.kind, ...shared(offset) } }),
    ...(tags && { tags: { format: tags.format.name, per: tags.per, element: tags.element.name } }),
  };
}

/** The tensors that config.json describes, by name; none if it holds no description of ours. */
export function described(config: Metadata, file: string): Map<string, { scheme: Scheme; shape: readonly number[] }> {
  const found = new Map<string, { scheme: Scheme; shape: readonly number[] }>();
  const quantization = config.quantization_config;
  if (!isObject(quantization) || quantization.quant_method !== METHOD) return found;
  if (quantization.version !== VERSION) {
    throw new UnsupportedError("the folder was written by another version", {
      kind: "unsupported-version",
      where: place(file),
      why: `quantization_config version ${JSON.stringify(quantization.version)}, this version reads ${VERSION}`,
      try: "update, or quantize the original model again",
    });
  }
  const { schemes: definitions, tensors } = quantization;
  if (!isObject(definitions) || !isObject(tensors)) {
    throw damaged(file, 'wanted the objects "schemes" and "tensors" in quantization_config');
  }
  for (const [name, entry] of Object.entries(tensors)) found.set(name, describedTensor(name, entry, definitions, file));
  return found;
}

function describedTensor(name: string, entry: MetadataValue, definitions: Metadata, file: string) {
  if (!isObject(entry) || typeof entry.scheme !== "string" || !isShape(entry.shape)) {
    throw damaged(file, `wanted "scheme" and "shape" for tensor ${quote(name)}`);
  }
  const scheme = schemes.find(entry.scheme);
  if (!scheme) {
    throw new UnsupportedError(`tensor ${quote(name)} has the unknown scheme ${quote(entry.scheme)}`, {
      kind: "wrong-dtype",
      where: place(file, { tensor: name }),
      try: "register the scheme, or use the version that wrote the folder",
    });
  }
  const [ours, theirs] = [definition(scheme), definitions[entry.scheme]];
  if (!sameJson(ours, theirs)) {
    const why = `the file says ${JSON.stringify(theirs)}, this version ${JSON.stringify(ours)}`;
    throw new UnsupportedError(`the scheme ${quote(scheme.name)} means something else here`, {
      kind: "unsupported-version",
      where: place(file),
      why,
    });
  }
  return { scheme, shape: entry.shape };
}

function isShape(value: MetadataValue | undefined): value is readonly number[] {
  if (!Array.isArray(value) || value.length > 64) return false;
  const whole = value.every((n) => Number.isSafeInteger(n) && n >= 0);
  return whole && value.reduce((product: number, n: number) => product * Math.max(n, 1), 64) <= Number.MAX_SAFE_INTEGER;
}

/** Equality of small JSON values, whatever the order of keys. */
function sameJson(a: MetadataValue | undefined, b: MetadataValue | undefined): boolean {
  if (!isObject(a) || !isObject(b)) return a === b;
  const [left, right] = [Object.keys(a), Object.keys(b)];
  return left.length === right.length && left.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]));
}

const damaged = (file: string, why: string) =>
  new FileError("config.json is damaged", {
    kind: "bad-config",
    where: place(file),
    why,
    try: "write the folder again",
  });
