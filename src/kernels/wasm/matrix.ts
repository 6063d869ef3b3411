/** Weights in the backend's memory: planned, laid out and paired with the module of kernels that multiplies them. */
import type { PackedTensor } from "../../tensor/packed.js";
import type { Activations, Exactness, Matrix } from "../backend.js";
import { weightRows } from "../weight-rows.js";
import type { CompiledModule, Engine, Place } from "./engine.js";
import { detectFeatures } from "./features.js";
import { fillLayout } from "./fill.js";
import { describe, type Layout, planLayout } from "./layout.js";
import { layoutKey, matmulModule } from "./matmul-f32.js";

export interface WasmMatrix extends Matrix {
  readonly engine: Engine;
  readonly layout: Layout;
  readonly module: CompiledModule;
  readonly place: Place;
  readonly address: number;
  /** Where the table of a table-decoded format lies, else 0. */
  readonly table: number;
  freed: boolean;
}

/** Bytes of the table of values that formats without a faster way are decoded by. */
const tableBytes = 1024;

export function loadMatrix(
  engine: Engine,
  weight: PackedTensor,
  activations: Activations,
  exactness: Exactness,
): WasmMatrix {
  const reader = weightRows(weight);
  const { relaxedDot } = detectFeatures();
  const layout = planLayout(reader, activations, { relaxedDot, fused: exactness === "fast" });
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
    ...{ engine, layout, module, place, address, table, freed: false },
  };
}
