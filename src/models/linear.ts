/**
 * A linear map of a model, y = W s(x) + b + A B s(x): a matrix, a bias perhaps, steps s that the input goes through first
 * (steps/), and a pair of thin matrices that makes up for what W lost. Architectures run all their linear maps through
 * `applyLinear` and know of nothing but x and y.
 */
import type { Backend, Buffer, Matrix } from "../kernels/backend.js";
import type { LinearRecords } from "./linear-records.js";
import { stepKinds } from "./steps/index.js";
import type { PreparedStep, StepKind } from "./steps/step.js";

export interface Linear {
  readonly matrix: Matrix;
  readonly bias?: Buffer;
  readonly entry: Entry;
  readonly lowRank?: { readonly a: Matrix; readonly b: Matrix };
  /** Of the columns kept apart. */
  readonly apart?: Matrix;
  readonly room: Room;
}

/** What an input goes through; one object for all maps of one length whose records say the same. */
export interface Entry {
  readonly steps: readonly (PreparedStep & Pick<StepKind, "essential">)[];
  /** Columns kept apart. */
  readonly apart: readonly number[];
}

/** Buffers between the parts of a linear map, one for each purpose, as long as the longest use so far. */
export interface Room {
  take(purpose: "input" | "basis" | "inner" | "correction" | "apart", length: number): Buffer;
  dispose(): void;
}

/** out = linear(x) for `batch` rows. x stays as it is. */
export function applyLinear(backend: Backend, out: Buffer, x: Buffer, linear: Linear, batch: number): void {
  applyLinears(backend, x, [{ out, linear }], batch);
}

/** A linear map, and where its outputs go. */
export interface LinearTarget {
  readonly out: Buffer;
  readonly linear: Linear;
}

/** The same for several maps of one input: those in a row whose steps are the same step it once, and are multiplied as a group. */
export function applyLinears(backend: Backend, x: Buffer, targets: readonly LinearTarget[], batch: number): void {
  for (let start = 0; start < targets.length; ) {
    const { linear } = targets[start];
    const { entry, matrix, room } = linear;
    const next = targets.findIndex((target, i) => i > start && target.linear.entry !== entry);
    const end = next < 0 ? targets.length : next;
    const plain = entry.steps.length === 0 && entry.apart.length === 0;
    if (!plain) enter(x, linear, batch);
    const changed = plain ? x : room.take("input", batch * matrix.columns);
    const alike = targets.slice(start, end);
    const products = alike.map(({ out, linear: { matrix: weight, bias } }) => ({ out, weight, bias }));
    backend.matmulGroup(changed, products, batch);
    for (const { out, linear: one } of alike) addCorrections(backend, out, changed, one, batch);
    start = end;
  }
}

/** Adds what columns kept apart and a pair of thin matrices contribute. */
function addCorrections(backend: Backend, out: Buffer, changed: Buffer, linear: Linear, batch: number): void {
  const { matrix, entry, lowRank, apart, room } = linear;
  const addProduct = (input: Buffer, factor: Matrix) => {
    const correction = room.take("correction", batch * matrix.rows);
    backend.matmul(correction, input, factor, batch);
    backend.add(out, out, correction, batch * matrix.rows);
  };
  if (apart) addProduct(room.take("apart", batch * entry.apart.length), apart);
  if (!lowRank) return;
  const inner = room.take("inner", batch * lowRank.b.rows);
  backend.matmul(inner, changed, lowRank.b, batch);
  addProduct(inner, lowRank.a);
}

/** Brings x into the room as the matrix wants it, and the columns kept apart beside it. */
function enter(x: Buffer, linear: Linear, batch: number): void {
  const { entry, room } = linear;
  const [essential, roundings] = splitSteps(entry);
  const basis = afterSteps(x, linear, essential, batch);
  const taken = entry.apart.length > 0 ? room.take("apart", batch * entry.apart.length) : undefined;
  const rest = taken ? takeApart(basis, taken, linear, entry.apart, batch) : basis;
  afterSteps(rest, linear, roundings, batch);
}

/** Moves columns of x to `taken`, [batch, columns.length]; a buffer of the room with x and 0 in their places. */
function takeApart(
  x: Buffer,
  taken: Buffer,
  { matrix, room }: Linear,
  columns: readonly number[],
  batch: number,
): Buffer {
  const size = matrix.columns;
  const rest = room.take("input", batch * size);
  const [from, apart, to] = [x.data(), taken.data(), rest.data()];
  if (rest !== x) to.set(from.subarray(0, batch * size));
  for (let row = 0; row < batch; row++) {
    columns.forEach((column, i) => {
      apart[row * columns.length + i] = from[row * size + column];
      to[row * size + column] = 0;
    });
  }
  return rest;
}

/**
 * x as the matrix was made for it: through the steps that it would be another map without (a rotation), which come first, and
 * not through roundings. A buffer of the map's room, or x itself.
 */
export function basisInput(x: Buffer, linear: Linear, batch: number): Buffer {
  return afterSteps(x, linear, splitSteps(linear.entry)[0], batch, "basis");
}

/** The steps up to the last essential one, and those after it. */
function splitSteps({ steps }: Entry): readonly [Entry["steps"], Entry["steps"]] {
  const end = steps.findLastIndex((step) => step.essential) + 1;
  return [steps.slice(0, end), steps.slice(end)];
}

function afterSteps(
  x: Buffer,
  { matrix, room }: Linear,
  steps: readonly PreparedStep[],
  batch: number,
  purpose: "input" | "basis" = "input",
): Buffer {
  if (steps.length === 0) return x;
  const out = room.take(purpose, batch * matrix.columns);
  steps.forEach((step, index) => {
    step.run(out, index === 0 ? x : out, batch);
  });
  return out;
}

export function makeRoom(backend: Backend): Room {
  const held = new Map<string, Buffer>();
  return {
    take(purpose, length) {
      const before = held.get(purpose);
      if (before && before.length >= length) return before;
      if (before) backend.free(before);
      const buffer = backend.allocate(length);
      held.set(purpose, buffer);
      return buffer;
    },
    dispose() {
      for (const buffer of held.values()) backend.free(buffer);
      held.clear();
    },
  };
}

/** The linear maps of loaded weights, by role. */
export interface Linears {
  linear(role: string): Linear;
  dispose(): void;
}

interface Parts {
  readonly backend: Backend;
  readonly records: LinearRecords;
  readonly matrix: (role: string) => Matrix;
  readonly optionalVector: (role: string) => Buffer | undefined;
}

/** Joins matrices and biases (`ROLE.bias`) with what `records` say of them. Steps are prepared at once. */
export function makeLinears({ backend, records, matrix, optionalVector }: Parts): Linears {
  const room = makeRoom(backend);
  const made = new Map<string, Linear>();
  const entries = new Map<string, Entry>();
  const entryOf = (role: string, columns: number): Entry => {
    const { input = [], apart = [] } = records[role] ?? {};
    const key = JSON.stringify([columns, input, apart]);
    const found = entries.get(key);
    if (found) return found;
    const steps = input.map((record) => {
      const { prepare, essential } = stepKinds.get(record.kind);
      return { ...prepare(backend, record, { role, columns }), essential };
    });
    const entry = { steps, apart };
    entries.set(key, entry);
    return entry;
  };
  const make = (role: string): Linear => {
    const { rank, apart } = records[role] ?? {};
    const weight = matrix(role);
    return {
      matrix: weight,
      bias: optionalVector(`${role}.bias`),
      entry: entryOf(role, weight.columns),
      ...(rank !== undefined && { lowRank: { a: matrix(`${role}.lowrank_a`), b: matrix(`${role}.lowrank_b`) } }),
      ...(apart && { apart: matrix(`${role}.apart`) }),
      room,
    };
  };
  const linear = (role: string): Linear => {
    const found = made.get(role) ?? make(role);
    made.set(role, found);
    return found;
  };
  return {
    linear,
    dispose() {
      for (const { steps } of entries.values()) for (const step of steps) step.dispose();
      room.dispose();
    },
  };
}
