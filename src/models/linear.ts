/**
 * A linear map of a model, y = W s(x) + b + A B s(x): a matrix, a bias perhaps, steps s that the input goes through first
 * (steps/), and a pair of thin matrices that makes up for what W lost. Architectures run all their linear maps through
 * `applyLinear` and know of nothing but x and y.
 *
 * Steps and pairs are data. The metadata of a file hold, under `bitloom.linears`, a JSON object from the role of a linear
 * map to its `LinearRecord`; a pair's tensors stand beside the weight, `NAME.lowrank_a` and `NAME.lowrank_b`, columns kept
 * apart as `NAME.apart`.
 */
import type { Metadata } from "../checkpoints/checkpoint.js";
import { FileError } from "../errors.js";
import type { Backend, Buffer, Matrix } from "../kernels/backend.js";
import type { WeightSpec } from "./architecture.js";
import { stepKinds } from "./steps/index.js";
import type { PreparedStep, StepKind, StepRecord } from "./steps/step.js";

/** What a linear map does besides its matrix and bias. */
export interface LinearRecord {
  /** In the order in which they run. */
  readonly input?: readonly StepRecord[];
  /** The pair's inner length: A is [rows, rank], B is [rank, columns]. */
  readonly rank?: number;
  /**
   * Columns kept apart: after the essential steps they leave the input, as if it were 0 there, go through no rounding, and are
   * multiplied with a matrix of their own, [rows, apart.length].
   */
  readonly apart?: readonly number[];
}

/** Records by the role of the weight ("layers.3.query"); a linear map without one is its matrix and bias. */
export type LinearRecords = Readonly<Record<string, LinearRecord>>;

/** Where a file's metadata keep the records, as JSON. */
export const LINEARS_KEY = "bitloom.linears";

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

/** What stands beside a weight, as weights of their own: roles and names with `.lowrank_a`, `.lowrank_b` and `.apart`. */
export function besideSpecs(weight: WeightSpec, { rank, apart }: LinearRecord): readonly WeightSpec[] {
  const [rows, columns] = weight.shape;
  const part = (suffix: string, shape: readonly number[]): WeightSpec => ({
    role: weight.role + suffix,
    shape,
    names: Object.fromEntries(Object.entries(weight.names).map(([container, name]) => [container, name + suffix])),
  });
  const pair = rank === undefined ? [] : [part(".lowrank_a", [rows, rank]), part(".lowrank_b", [rank, columns])];
  return apart ? [...pair, part(".apart", [rows, apart.length])] : pair;
}

const BESIDE = /\.(lowrank_[ab]|apart)$/;

/** The weight, by role or name, that a tensor stands beside; undefined for a weight itself. */
export const besideWeight = (name: string): string | undefined =>
  BESIDE.test(name) ? name.replace(BESIDE, "") : undefined;

/** The weight table with what the records say stands beside weights. FileError for a role that is no linear map of the model. */
export function withBeside(specs: readonly WeightSpec[], records: LinearRecords, where: string): readonly WeightSpec[] {
  const matrices = new Set(specs.filter(({ shape }) => shape.length === 2).map(({ role }) => role));
  for (const role of Object.keys(records)) {
    if (!matrices.has(role)) throw damaged(where, `"${role}" is no linear map of this model`);
  }
  return specs.flatMap((spec) => {
    const record = records[spec.role];
    return record ? [spec, ...besideSpecs(spec, record)] : [spec];
  });
}

/** The records with `steps` added after those of every matrix of the table. */
export function withSteps(
  records: LinearRecords,
  specs: readonly WeightSpec[],
  steps: readonly StepRecord[],
): LinearRecords {
  if (steps.length === 0) return records;
  const matrices = specs.filter(({ shape }) => shape.length === 2);
  const added = matrices.map(({ role }) => [
    role,
    { ...records[role], input: [...(records[role]?.input ?? []), ...steps] },
  ]);
  return Object.fromEntries(added);
}

/** The records that a file's metadata hold; none where there is no key. FileError for anything of the wrong form. */
export function readLinears(metadata: Metadata, where: string): LinearRecords {
  const text = metadata[LINEARS_KEY];
  if (text === undefined) return {};
  const parsed = typeof text === "string" ? parseJson(text) : undefined;
  if (!isObject(parsed)) throw damaged(where, "wanted a JSON object as text");
  for (const [role, record] of Object.entries(parsed)) {
    const why = faultOf(record);
    if (why !== undefined) throw damaged(where, `"${role}": ${why}`);
  }
  return parsed as LinearRecords;
}

function faultOf(record: unknown): string | undefined {
  if (!isObject(record)) return "wanted an object";
  const { input = [], rank, apart, ...rest } = record;
  if (Object.keys(rest).length > 0) return `${Object.keys(rest)[0]} is not known; a newer version may have written it`;
  if (!Array.isArray(input)) return "wanted a list of steps as input";
  for (const step of input) {
    if (!isObject(step) || typeof step.kind !== "string") return "wanted a kind for every step";
    if (!stepKinds.find(step.kind)) return `the step "${step.kind}" is not known; a newer version may have written it`;
  }
  if (apart !== undefined && !(Array.isArray(apart) && apart.every((j) => Number.isSafeInteger(j) && j >= 0))) {
    return "wanted a list of columns as apart";
  }
  if (rank !== undefined && !(Number.isSafeInteger(rank) && (rank as number) > 0)) return `rank is ${rank}`;
  return undefined;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const damaged = (where: string, why: string) =>
  new FileError(`the metadata ${LINEARS_KEY} are damaged`, { kind: "bad-config", where, why });

/** The records as metadata hold them; undefined where there are none. */
export function linearsMetadata(records: LinearRecords): string | undefined {
  return Object.keys(records).length > 0 ? JSON.stringify(records) : undefined;
}

/** The first role whose linear map another program would compute wrongly, because it knows of no steps and no pairs. */
export function essentialRole(records: LinearRecords): string | undefined {
  const found = Object.entries(records).find(
    ([, { input = [], rank, apart }]) =>
      rank !== undefined || apart !== undefined || input.some(({ kind }) => stepKinds.get(kind).essential),
  );
  return found?.[0];
}
