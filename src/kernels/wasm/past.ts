/** Chooses how attention reads positions held in a scheme, and does it: inside of its loops, or from an f32 copy. */
import type { PackedAttentionShape, Past } from "../backend.js";
import type { CastKernels } from "../casts/cast-kernels.js";
import type { WasmBuffer } from "./buffer.js";
import type { Engine } from "./engine.js";
import { roundUp } from "./layout.js";
import {
  mostRowsPerItem,
  packedAttention,
  packedAttentionModule,
  packedScratchBytes,
  sideArguments,
} from "./packed-attention.js";
import { type PackedField, type PackedPlan, packedAddresses, planPacked, type UnpackedPlan } from "./packed-rows.js";
import type { WasmRows } from "./row-store.js";

/** A side whose parts are this backend's own. */
export interface OwnPast extends Past {
  readonly store: WasmRows;
  readonly recent: WasmBuffer;
}

/** What was planned for a store at its first use. */
type Planned =
  | UnpackedPlan
  | (PackedPlan & { readonly key: string; readonly addresses: Readonly<Record<PackedField, number>> });

export class PackedAttention {
  readonly #engine: Engine;
  readonly #kernels: CastKernels;
  readonly #plans = new WeakMap<WasmRows, Planned>();

  constructor(engine: Engine, kernels: CastKernels) {
    this.#engine = engine;
    this.#kernels = kernels;
  }

  /** False where a side has to be unpacked first. */
  run(out: number, q: number, keys: OwnPast, values: OwnPast, shape: PackedAttentionShape): boolean {
    const { batch, position, packed, heads, kvHeads, headSize, chunk } = shape;
    const [k, v] = [this.#planned(keys, headSize), this.#planned(values, headSize)];
    if (k.kind === "unpacked" || v.kind === "unpacked") return false;
    const key = `attention over ${k.key} and ${v.key}, ${heads} ${kvHeads} ${headSize} ${chunk}`;
    const module = this.#engine.module(key, (limits) => packedAttentionModule(k, v, shape, limits));
    const { threads } = this.#engine;
    // Items of several rows decode less, but every thread should have some.
    const rowsPerItem = Math.max(1, Math.min(mostRowsPerItem, Math.floor((batch * kvHeads) / (2 * threads))));
    const scratchBytes = roundUp(packedScratchBytes(shape, Math.min(rowsPerItem, batch), position + batch), 64);
    const args = {
      ...{ out, q, recentKeys: keys.recent.address, recentValues: values.recent.address, packed, rows: batch },
      ...{ seen: position + 1, rowsPerItem, scratchBytes },
      scratch: this.#engine.scratch("chunks and scores", scratchBytes * threads),
      ...sideArguments("keys", k.addresses),
      ...sideArguments("values", v.addresses),
    };
    const items = kvHeads * Math.ceil(batch / rowsPerItem);
    this.#engine.run(module, packedAttention, args, items, 2 * batch * heads * headSize * (position + batch));
    return true;
  }

  #planned(past: OwnPast, headSize: number): Planned {
    const { store, axis } = past;
    const known = this.#plans.get(store);
    if (known) return known;
    const plan = planPacked(past, headSize);
    const planned: Planned =
      plan.kind === "unpacked"
        ? plan
        : {
            ...plan,
            key: `${axis} ${store.columns} ${JSON.stringify(plan)}`,
            addresses: packedAddresses(store, plan, (format) => this.#kernels.valuesOf(format)),
          };
    this.#plans.set(store, planned);
    return planned;
  }
}
