/**
 * How a weight matrix lies in WebAssembly memory. Four output columns of a matmul (four rows of the weight: a "quad")
 * share vectors, one column in each lane, so that a dot product needs no horizontal sum. A quad is a run of blocks:
 *
 *     block = [four scales] [four offsets] cells of codes
 *
 * A cell (cells.ts) is a run of k that fills whole vectors. Byte j of a vector belongs, in "k major" order (f32
 * activations), to k = j / 4 and column j mod 4, and in "column major" order (int8 activations) to column j / 4 and
 * k = j mod 4. Scales stand beside their codes, in the fewest bytes that hold them (shared.ts), so a kernel reads memory as
 * a few sequential streams. Blocks are padded to whole cells, rows to a multiple of 16.
 */
import type { Activations } from "../backend.js";
import { activationBlock } from "../int8.js";
import type { WeightRows } from "../weight-rows.js";
import { type ByteDot, byLookup, planInt8, sumsOf } from "./byte-dot.js";
import { cellBytes, cellColumns } from "./cells.js";
import { type Decode, type Order, orderOf } from "./decode.js";
import type { RelaxedDot } from "./features.js";
import { planF32 } from "./plan-f32.js";
import { fitsE4m3Factor, isE4m3, type SharedForm, SharedNumbers } from "./shared.js";
import { streamsOf } from "./streams.js";
import { type Tile, tileOf } from "./tile.js";

/** Quads are stored in multiples of this, so that every tile finds whole ones. */
const quadMultiple = 4;

export interface Layout {
  readonly rows: number;
  readonly columns: number;
  readonly decode: Decode;
  readonly order: Order;
  readonly dot?: ByteDot;
  /** Whether multiply-adds in f32 may round as the host likes. */
  readonly fused: boolean;
  /** Whether relaxed instructions may be used where they are exact. */
  readonly relaxed: boolean;
  readonly tile: Tile;
  /** Why it is decoded so, in words. */
  readonly why: string;
  /** What multiplies a raw decoded value where there are no scales (scales contain it otherwise). */
  readonly factor: number;
  readonly scale?: SharedForm;
  /** Whether scales and offsets are held as f32 because the weights are so few that they stay in the caches. */
  readonly cached?: boolean;
  readonly offset: "none" | "min" | "zeroPoint";
  /** How offsets are held, if there are any. */
  readonly offsets?: SharedForm;
  /** Columns of a block, and the same rounded up to whole cells. */
  readonly blockColumns: number;
  readonly paddedBlock: number;
  readonly blocks: number;
  readonly blockCells: number;
  /** Bytes of a block, header and cells. */
  readonly blockBytes: number;
  readonly headerBytes: number;
  readonly quadBytes: number;
  /** Quads that lie side by side (places.ts). */
  readonly beside: 1 | 2 | 4;
  /** Quads that hold rows, and the same rounded up to fours, as stored. */
  readonly quads: number;
  readonly storedQuads: number;
  /** Columns with the padding: what activations are padded to. */
  readonly paddedColumns: number;
  readonly bytes: number;
  /** The stored code of each code, where they differ; codes of more than 16 bits are stored as f32 bits. */
  readonly recode?: Uint8Array | Uint16Array;
}

/** What a plan depends on besides the weight. */
interface Circumstances {
  readonly relaxedDot: RelaxedDot;
  readonly fused: boolean;
  /** Bytes that the caches can take besides the weights already held. Default: none. */
  readonly cacheRoom?: number;
}

/** Plans the layout of a weight. */
export function planLayout(
  weight: WeightRows,
  activations: Activations,
  { relaxedDot, fused, cacheRoom = 0 }: Circumstances,
): Layout {
  const { rows, columns, scheme } = weight;
  const exact = activations === "f32";
  const plan: Plan = exact ? planF32(weight) : planInt8(weight, activations, relaxedDot);
  const blockColumns = exact ? weight.blockColumns : activationBlock(weight);
  const blocks = Math.ceil(columns / blockColumns);
  const cell = cellColumns(plan.decode.bits);
  // A single block is unrolled to 8 columns at least, so that short cells do not pay for the loop.
  const paddedBlock = roundUp(blockColumns, Math.max(blocks <= 1 ? 8 : 2, cell));
  const offset = scheme.offset?.kind ?? "none";
  const blockCells = paddedBlock / cell;
  const quads = Math.ceil(rows / 4);
  const storedQuads = roundUp(quads, quadMultiple);
  const beside = plan.dot && byLookup(plan.dot) ? 4 : (plan.dot?.together ?? 1);
  const held = (forms: Forms) => {
    const headerBytes = (forms.scale?.bytes ?? 0) + (forms.offsets?.bytes ?? 0);
    const blockBytes = headerBytes + blockCells * cellBytes(plan.decode.bits);
    const quadBytes = blocks * blockBytes;
    // Vectors of quads that lie side by side are read from any byte of a word on.
    return { ...forms, headerBytes, blockBytes, quadBytes, bytes: storedQuads * quadBytes + (beside === 1 ? 0 : 16) };
  };
  const forms = sharedForms(weight, plan.dot?.unit ?? plan.factor, !exact);
  const [packed, ready] = [held(forms), held(inF32(forms))];
  const few = plan.dot !== undefined && plan.dot.bits <= 4 && ready.bytes <= cacheRoom;
  const cached = few && ready.bytes > packed.bytes;
  return {
    ...{ rows, columns, offset, blockColumns, paddedBlock, blocks, blockCells, beside, quads, storedQuads, ...plan },
    ...{ paddedColumns: blocks * paddedBlock, cached, ...(cached ? ready : packed) },
    dot: plan.dot && { ...plan.dot, sums: sumsOf(plan.dot, blockCells) },
    fused: fused && exact,
    relaxed: relaxedDot !== "none",
    tile: tileOf({ fused, dot: plan.dot }),
    order: exact ? orderOf(plan.decode) : "column major",
  };
}

type Forms = Pick<Layout, "scale" | "offsets">;

/** The same as f32: more bytes, but a block of few bits ends in a tenth fewer instructions, which count where bytes do not. */
const inF32 = ({ scale, offsets }: Forms): Forms => ({
  scale: scale && { kind: "f32", bytes: 16 },
  offsets: offsets && { kind: "f32", bytes: 16 },
});

/** How scales and offsets are held, each with the element's unit: found out by looking at all of them. */
function sharedForms(weight: WeightRows, unit: number, scaled: boolean): Forms {
  const { rows, scheme, scales, offsets, scaleParts } = weight;
  const [scaleNumbers, offsetNumbers] = [new SharedNumbers(), new SharedNumbers()];
  const factor = scaleParts ? scaleParts.common * unit : 0;
  let parted = scaleParts !== undefined && fitsE4m3Factor(factor);
  for (let row = 0; row < rows && (scales || offsets); row++) {
    weight.readShared(row);
    if (scales) for (const s of scales) scaleNumbers.add(s * unit);
    if (offsets) for (const z of offsets) offsetNumbers.add(scheme.offset?.kind === "min" ? z : z / unit);
    parted &&= scaleParts?.own.every(isE4m3) === true;
  }
  if (!scheme.scale) scaleNumbers.add(unit);
  return {
    scale: parted ? { kind: "e4m3", bytes: 4, factor } : scheme.scale || scaled ? scaleNumbers.form() : undefined,
    offsets: scheme.offset && offsetNumbers.form(),
  };
}

/** How codes are stored and decoded. */
export type Plan = Pick<Layout, "decode" | "factor" | "recode" | "dot" | "why">;

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The largest divisor of `count` that is at most `limit`. */
export function divisor(count: number, limit: number): number {
  let best = 1;
  for (let d = 1; d <= limit; d++) if (count % d === 0) best = d;
  return best;
}

/** A layout in one line, with its reason. */
export function describe(layout: Layout): string {
  const { why, decode, fused } = layout;
  const table = decode.kind === "table" ? " (slow)" : "";
  const streams = `; one row of activations reads ${streamsOf(layout)} streams`;
  return `${why}${table}${describeHeld(layout)}${streams}${fused ? "; fused multiply-adds" : ""}`;
}

type Held = Pick<
  Layout,
  "rows" | "columns" | "bytes" | "scale" | "offset" | "offsets" | "blocks" | "blockColumns" | "cached"
>;

/** How scales and offsets are held, and what a weight takes with them. */
export function describeHeld(layout: Held): string {
  const { rows, columns, bytes } = layout;
  const bits = rows * columns === 0 ? "" : `; ${((8 * bytes) / rows / columns).toFixed(2)} bits a weight in memory`;
  return `${describeShared(layout)}${bits}`;
}

function describeShared({ scale, offset, offsets, blocks, blockColumns, cached }: Held): string {
  const shared = [scale && `scale (${scale.kind})`, offsets && `${offset} (${offsets.kind})`].filter((part) => part);
  if (shared.length === 0) return "";
  const why = cached ? ", ready for use because so few weights stay in the caches" : "";
  return `, ${shared.join(" and ")} for ${blocks > 1 ? `${blockColumns} columns` : "a row"}${why}`;
}
