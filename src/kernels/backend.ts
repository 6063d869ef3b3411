/**
 * What a backend computes. One small set of operations serves every architecture; activations are f32, weights are
 * packed tensors of any scheme, laid out once at load in whatever way the backend likes.
 *
 * All calls are synchronous and in order. Batches are rows: `x` of a matmul is [batch, columns], row-major. Buffers
 * belong to the backend that made them.
 */
import type { NumberFormat } from "../formats/format.js";
import type { Scheme } from "../formats/scheme.js";
import type { Named } from "../registry.js";
import type { PackedTensor } from "../tensor/packed.js";
import type { GeluForm } from "./gelu.js";
import type { MomentSums } from "./moments.js";

/** f32 numbers in the backend's memory. */
export interface Buffer {
  readonly length: number;
  /** The numbers themselves, valid until the next allocation; a view, not a copy. */
  data(): Float32Array;
  /** A part of the same memory. */
  view(start: number, length: number): Buffer;
}

/** A weight matrix [rows = outputs, columns = inputs] in the backend's own layout. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly scheme: string;
  /** How activations enter matmuls with it. */
  readonly activations: Activations;
  /** Bytes held by the backend for it. */
  readonly bytes: number;
  /** How the backend holds and multiplies it, and why so, in words. */
  readonly plan: string;
}

/** Rows of numbers held in a scheme, in the backend's memory: keys or values of past positions. */
export interface RowStore {
  readonly scheme: Scheme;
  readonly rows: number;
  readonly columns: number;
  /** Bytes held for it. */
  readonly bytes: number;
}

/**
 * How activations enter a matmul: as they are, or rounded to integers with one scale for each block (int8.ts). "int8" takes
 * weights whose values are small integers times a unit, and is exact about them; so do "int7" to "int1", with fewer bits for
 * each activation. "int8-rounded" also takes codebooks of at most 4 bits whose values are no integers (NF4), rounded to
 * 127ths of the largest, and other formats of at most 8 bits (float8), rounded likewise block by block (rounded-rows.ts).
 */
export type Activations = (typeof ACTIVATIONS)[number];
export const ACTIVATIONS = [
  ...(["f32", "int8", "int8-rounded"] as const),
  ...(["int7", "int6", "int5", "int4", "int3", "int2", "int1"] as const),
] as const;

/**
 * How exactly f32 products are defined. `deterministic`: product and sum are rounded one after the other in a fixed
 * order, the same bits on every engine, machine and number of threads. `fast`: multiply-adds may be fused and scales
 * applied to sums, as the machine likes it best; results differ in the last bits. Products of int8 activations are exact
 * integers on both levels.
 */
export type Exactness = "deterministic" | "fast";

/** What the calls of one kernel took, of a product those with one kind of weight. */
export interface OperationTime {
  readonly kernel: string;
  /** Scheme and shape of the weight, "q4_0 1536x576". */
  readonly weight?: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Of products. */
  readonly multiplications?: number;
}

export interface BackendInfo {
  readonly name: string;
  readonly threads: number;
  readonly exactness: Exactness;
  /** What the engine offers and this backend uses: "simd128", "relaxed-simd", "threads". */
  readonly features: readonly string[];
  /** What was wanted and is missing, with its effect, in words for the user. */
  readonly fallbacks: readonly string[];
}

export interface Backend {
  readonly info: BackendInfo;

  /**
   * Runs the operations that `work` calls, in an order that gives the same result: those that do not depend on each other
   * need not wait for each other, and several threads are called once for all. Memory may be read and written through
   * `data()` asked for inside of `work`; a view from before is out of date until `batch` returns.
   */
  batch<T>(work: () => T): T;
  /**
   * Runs `work` with each operation on its own and says where the time went, what took longest first. Results are the same.
   * Absent where a backend cannot tell.
   */
  profile?<T>(work: () => T): { readonly result: T; readonly operations: readonly OperationTime[] };
  /**
   * Runs `work` and keeps its operations to run them again. Between one run and another nothing may differ but what they compute
   * on and `position`, which enters through `rope`, `ropeAndStore` and `attention` alone. Undefined where they cannot be kept (memory
   * was read or written otherwise). Absent where nothing is gained.
   */
  record?(position: number, work: () => void): Recording | undefined;
  /** `length` zeros. */
  allocate(length: number): Buffer;
  /** A copy of `values` in backend memory. */
  upload(values: Float32Array): Buffer;
  free(buffer: Buffer): void;
  loadMatrix(weight: PackedTensor, activations?: Activations): Matrix;
  freeMatrix(matrix: Matrix): void;

  /** out[i] = row ids[i] of the table. out: [ids.length, table.columns]. */
  embed(out: Buffer, ids: ArrayLike<number>, table: Matrix): void;
  /** out[b, n] = sum_k x[b, k] weight[n, k] (+ bias[n]). x: [batch, columns], out: [batch, rows]. */
  matmul(out: Buffer, x: Buffer, weight: Matrix, batch: number, bias?: Buffer): void;
  /** The products of one input with several matrices: `matmul` for each, begun once for all where their kernels are the same. */
  matmulGroup(x: Buffer, products: readonly Product[], batch: number): void;
  /** out[b] = x[b] / sqrt(mean(x[b]^2) + epsilon) * gain, for rows of gain.length. out may be x. */
  rmsNorm(out: Buffer, x: Buffer, gain: Buffer, batch: number, epsilon: number): void;
  /** out[b] = d / sqrt(mean(d^2) + epsilon) * gain + bias with d = x[b] - mean(x[b]). out may be x. */
  layerNorm(out: Buffer, x: Buffer, gain: Buffer, bias: Buffer, batch: number, epsilon: number): void;
  /**
   * Rotary embedding in place on [batch, heads, headSize], pairing element i with i + headSize / 2; row b stands at
   * position + b. cos and sin: [positions, headSize / 2].
   */
  rope(x: Buffer, batch: number, heads: number, headSize: number, cos: Buffer, sin: Buffer, position: number): void;
  /**
   * Takes new positions in: q and k through `rope`, then k and v to rows `row` .. row + batch - 1 of the cache. q, in place:
   * [batch, heads, headSize]; k and v: [batch, kvHeads, headSize], undefined afterwards.
   */
  ropeAndStore(q: Buffer, k: Buffer, v: Buffer, into: StoredHeads, angles: Angles, shape: HeadShape): void;
  /**
   * Grouped-query attention. q: [batch, heads, headSize], query row b at position + b; keys and values:
   * [context, kvHeads, headSize] with rows 0 .. position + batch - 1 filled; out as q. Scores are scaled by
   * 1 / sqrt(headSize). A causal row sees the positions up to its own, another all position + batch of them.
   */
  attention(out: Buffer, q: Buffer, keys: Buffer, values: Buffer, shape: AttentionShape): void;
  /**
   * Causal attention over positions of which the first `packed` are held in a scheme: what `attention` makes of the keys and
   * values that `unpack` gives, followed by the recent ones.
   */
  attentionOverPacked(out: Buffer, q: Buffer, keys: Past, values: Past, shape: PackedAttentionShape): void;
  /** out = gate / (1 + exp(-gate)) * up, elementwise over `length`. out may be gate. */
  siluMultiply(out: Buffer, gate: Buffer, up: Buffer, length: number): void;
  /** out = gelu(x) in one of its forms (gelu.ts), elementwise over `length`. Default: "erf". out may be x. */
  gelu(out: Buffer, x: Buffer, length: number, form?: GeluForm): void;
  /** out = a + b, elementwise over `length`. out may be a. */
  add(out: Buffer, a: Buffer, b: Buffer, length: number): void;
  /** Row-wise softmax over `columns`. out may be x. */
  softmax(out: Buffer, x: Buffer, rows: number, columns: number): void;
  /**
   * out[b] = what `scheme` makes of x[b], for rows of `columns`: quantized and dequantized, each row as a tensor of its own, so
   * that a row's scales (a tensor scale too) come from that row alone. out may be x. NumericError for a number that is not
   * finite.
   */
  round(out: Buffer, x: Buffer, scheme: Scheme, batch: number, columns: number): void;
  /**
   * out[b] = H (signs * x[b]) / sqrt(block) for every block of every row, H the Hadamard matrix of order `block` (hadamard.ts);
   * rows are as long as `signs`. out may be x. UnsupportedError for an order that has no known matrix.
   */
  hadamard(out: Buffer, x: Buffer, signs: Buffer, block: number, batch: number): void;
  /**
   * out[b, j] = S[j] v(code), code the nearest in `format` to x[b, j] / S[j], the end of the range for what lies beyond.
   * `scales` holds S: one for each column, or one for all. out may be x. NumericError as for `round`.
   */
  roundStatic(out: Buffer, x: Buffer, format: NumberFormat, scales: Buffer, batch: number, columns: number): void;

  /** Room for `rows` rows of `columns` numbers in a scheme, zeroed. */
  createRows(scheme: Scheme, rows: number, columns: number): RowStore;
  freeRows(store: RowStore): void;
  /**
   * Rows `at` .. at + count - 1 become what the scheme makes of x, [count, columns], each row a tensor of its own.
   * NumericError for a number that is not finite.
   */
  pack(store: RowStore, at: number, x: Buffer, count: number): void;
  /** out, [count, columns]: the numbers of rows `at` .. at + count - 1. */
  unpack(out: Buffer, store: RowStore, at: number, count: number): void;
  /** out[m, j, i] = x[m, i, j] for `count` matrices [rows, columns]. out must not be x. */
  transpose(out: Buffer, x: Buffer, count: number, rows: number, columns: number): void;
  /** out = x over `length`. The two must not overlap. */
  copy(out: Buffer, x: Buffer, length: number): void;

  /** Running sums over rows of `columns` numbers, and over the products of their columns if `products` says so (moments.ts). */
  sumMoments(columns: number, products: boolean): MomentSums;

  /** Gives all memory and threads back; the backend cannot be used afterwards. */
  dispose(): Promise<void>;
}

/** What a product of an input has besides the input. */
export interface Product {
  readonly out: Buffer;
  readonly weight: Matrix;
  readonly bias?: Buffer;
}

/** Operations that were kept (`Backend.record`). */
export interface Recording {
  /** Runs them at a position; false where they must be called anew: memory was given back, or operations are profiled. */
  run(position: number): boolean;
  dispose(): void;
}

/** Keys and values of positions, [.., kvHeads, headSize] each, and a row of them. */
export interface StoredHeads {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly row: number;
}

/** Rotary angles, [positions, headSize / 2], and a position. */
export interface Angles {
  readonly cos: Buffer;
  readonly sin: Buffer;
  readonly position: number;
}

export interface HeadShape {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
}

export interface AttentionShape extends HeadShape {
  readonly position: number;
  /** Default: true. */
  readonly causal?: boolean;
}

/** Past positions on one side of attention, keys or values, of `width` = kvHeads * headSize numbers each. */
export interface Past {
  /**
   * The first positions. By token: row p is position p. By channel: the rows c * width .. c * width + width - 1 are the channels
   * of positions c * chunk .. c * chunk + chunk - 1, chunk being the store's columns.
   */
  readonly store: RowStore;
  readonly axis: "token" | "channel";
  /** The positions after the packed ones, [.., kvHeads, headSize]. */
  readonly recent: Buffer;
}

export interface PackedAttentionShape extends Omit<AttentionShape, "causal"> {
  /** Positions held in the stores, at most `position` + 1; whole chunks of `chunk`. */
  readonly packed: number;
  readonly chunk: number;
}

export interface BackendOptions {
  /** Threads to use, the calling one included. Default: 1. */
  readonly threads?: number;
  /** Default: "deterministic". */
  readonly exactness?: Exactness;
  /**
   * For weights of more than 4 GB: how many memories to have, one for activations and the rest for weights, 4 GB each at
   * most. Default: 1, for everything. UnsupportedError where the engine cannot read several.
   */
  readonly memories?: number;
  /** The most bytes of each. Default: 4 GB. */
  readonly memoryBytes?: number;
}

/** One way to compute, registered in index.ts. */
export interface BackendRecord extends Named {
  readonly summary: string;
  create(options?: BackendOptions): Promise<Backend>;
}
