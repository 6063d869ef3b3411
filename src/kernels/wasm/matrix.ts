/** Weights in the backend's memory: planned, laid out and paired with the module of kernels that multiplies them. */
import type { PackedTensor } from "../../tensor/packed.js";
import type { Activations, Exactness, Matrix } from "../backend.js";
import { openWeight } from "../rounded-rows.js";
import type { WeightRows } from "../weight-rows.js";
import { type BitLayout, fillBits, planBits } from "./bit-planes.js";
import { bitsKey, bitsModule } from "./count-bits.js";
import type { CompiledModule, Engine, Place } from "./engine.js";
import { detectFeatures } from "./features.js";
import { fillLayout } from "./fill.js";
import { describe, describeHeld, type Layout, planLayout } from "./layout.js";
import { layoutKey, matmulModule } from "./matmul-f32.js";

interface Loaded extends Matrix {
  readonly engine: Engine;
  readonly module: CompiledModule;
  readonly place: Place;
  readonly address: number;
  freed: boolean;
}

/** A matrix of codes. */
export interface CodeMatrix extends Loaded {
  readonly kind: "codes";
  readonly layout: Layout;
  /** Where the table of a table-decoded format lies, else 0. */
  readonly table: number;
}

/** A matrix of planes of bits, to be counted. */
export interface BitMatrix extends Loaded {
  readonly kind: "bits";
  readonly layout: BitLayout;
}

export type WasmMatrix = CodeMatrix | BitMatrix;

/** Bytes of the table of values that formats without a faster way are decoded by. */
const tableBytes = 1024;

/** Weights that take so many bytes in all are taken to stay in the caches: half of what the last level of many machines holds. */
const cachedWeights = 2 ** 24;

export function loadMatrix(
  engine: Engine,
  weight: PackedTensor,
  activations: Activations,
  exactness: Exactness,
): WasmMatrix {
  const reader = openWeight(weight, activations);
  const { relaxedDot } = detectFeatures();
  const bits = planBits(reader, activations, relaxedDot);
  if (bits) return loadBits(engine, reader, bits, activations);
  const cacheRoom = cachedWeights - engine.weightBytes;
  const layout = planLayout(reader, activations, { relaxedDot, fused: exactness === "fast", cacheRoom });
  const { rows, columns, decode } = layout;
  const bytes = layout.bytes + (decode.kind === "table" ? tableBytes : 0);
  const place = engine.placeWeight(bytes, `a ${weight.scheme.name} weight`);
  const { room, address } = place;
  const memory = engine.weightMemory(room);
  fillLayout(layout, reader, memory.buffer, address);
  const table = address + layout.bytes;
  if (decode.kind === "table") new Float32Array(memory.buffer, table, tableBytes / 4).set(decode.values);
  const module = engine.module(layoutKey(layout), (limits) => matmulModule(layout, limits), room);
  return {
    ...{ rows, columns, scheme: weight.scheme.name, activations, bytes, plan: describe(layout) },
    ...{ kind: "codes", engine, layout, module, place, address, table, freed: false },
  };
}

/** A weight whose products are counted. */
export function loadBits(engine: Engine, weight: WeightRows, layout: BitLayout, activations: Activations): BitMatrix {
  const { rows, columns, bytes } = layout;
  const scheme = weight.scheme.name;
  const place = engine.placeWeight(bytes, `a ${scheme} weight`);
  const { room, address } = place;
  fillBits(layout, weight, engine.weightMemory(room).buffer, address);
  const module = engine.module(bitsKey(layout), (limits) => bitsModule(layout, limits), room);
  return {
    ...{ rows, columns, scheme, activations, bytes, plan: `${layout.why}${describeHeld(layout)}` },
    ...{ kind: "bits", engine, layout, module, place, address, freed: false },
  };
}
