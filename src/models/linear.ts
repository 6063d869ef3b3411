/**
 * A linear map of a model, y = W s(x) + b + A B s(x): a matrix, a bias perhaps, steps s that the input goes through first
 * (steps/), and a pair of thin matrices that makes up for what W lost. Architectures run all their linear maps through
 * `applyLinear` and know of nothing but x and y.
 *
 * Steps and pairs are data. The metadata of a file hold, under `bitloom.linears`, a JSON object from the role of a linear
 * map to its `LinearRecord`; a pair's tensors stand beside the weight, `NAME.lowrank_a` and `NAME.lowrank_b`.
 */
import type { Metadata } from "../checkpoints/checkpoint.js";
import { FileError } from "../errors.js";
import type { Backend, Buffer, Matrix } from "../kernels/backend.js";
import type { WeightSpec } from "./architecture.js";
import { stepKinds } from "./steps/index.js";
import type { PreparedStep, StepRecord } from "./steps/step.js";

/** What a linear map does besides its matrix and bias. */
export interface LinearRecord {
  /** In the order in which they run. */
  readonly input?: readonly StepRecord[];
  /** The pair's inner length: A is [rows, rank], B is [rank, columns]. */
  readonly rank?: number;
}

/** Records by the role of the weight ("layers.3.query"); a linear map without one is its matrix and bias. */
export type LinearRecords = Readonly<Record<string, LinearRecord>>;

/** Where a file's metadata keep the records, as JSON. */
export const LINEARS_KEY = "bitloom.linears";

export interface Linear {
  readonly matrix: Matrix;
  readonly bias?: Buffer;
  readonly input: readonly PreparedStep[];
  readonly lowRank?: { readonly a: Matrix; readonly b: Matrix };
  readonly room: Room;
}

/** Buffers between the parts of a linear map, one for each purpose, as long as the longest use so far. */
export interface Room {
  take(purpose: "input" | "inner" | "correction", length: number): Buffer;
  dispose(): void;
}

/** out = linear(x) for `batch` rows. x stays as it is. */
export function applyLinear(backend: Backend, out: Buffer, x: Buffer, linear: Linear, batch: number): void {
  const { matrix, bias, input, lowRank, room } = linear;
  const { rows, columns } = matrix;
  const changed = input.length > 0 ? room.take("input", batch * columns) : x;
  input.forEach((step, index) => {
    step.run(changed, index === 0 ? x : changed, batch);
  });
  backend.matmul(out, changed, matrix, batch, bias);
  if (!lowRank) return;
  const inner = room.take("inner", batch * lowRank.b.rows);
  const correction = room.take("correction", batch * rows);
  backend.matmul(inner, changed, lowRank.b, batch);
  backend.matmul(correction, inner, lowRank.a, batch);
  backend.add(out, out, correction, batch * rows);
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
  const make = (role: string): Linear => {
    const { input = [], rank } = records[role] ?? {};
    const weight = matrix(role);
    const place = { role, columns: weight.columns };
    return {
      matrix: weight,
      bias: optionalVector(`${role}.bias`),
      input: input.map((record) => stepKinds.get(record.kind).prepare(backend, record, place)),
      ...(rank !== undefined && { lowRank: { a: matrix(`${role}.lowrank_a`), b: matrix(`${role}.lowrank_b`) } }),
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
      for (const { input } of made.values()) for (const step of input) step.dispose();
      room.dispose();
    },
  };
}

/** The pair of a weight as weights of their own, roles and names with `.lowrank_a` and `.lowrank_b`. */
export function lowRankSpecs(weight: WeightSpec, rank: number): readonly [a: WeightSpec, b: WeightSpec] {
  const [rows, columns] = weight.shape;
  const part = (suffix: string, shape: readonly number[]): WeightSpec => ({
    role: weight.role + suffix,
    shape,
    names: Object.fromEntries(Object.entries(weight.names).map(([container, name]) => [container, name + suffix])),
  });
  const a = part(".lowrank_a", [rows, rank]);
  return [{ ...a, ...(weight.ggufRows && { ggufRows: weight.ggufRows }) }, part(".lowrank_b", [rank, columns])];
}

/** The weight table with the pairs that the records name. A FileError for a role that is no linear map of the model. */
export function withLowRank(
  specs: readonly WeightSpec[],
  records: LinearRecords,
  where: string,
): readonly WeightSpec[] {
  const matrices = new Set(specs.filter(({ shape }) => shape.length === 2).map(({ role }) => role));
  for (const role of Object.keys(records)) {
    if (!matrices.has(role)) throw damaged(where, `"${role}" is no linear map of this model`);
  }
  return specs.flatMap((spec) => {
    const rank = records[spec.role]?.rank;
    return rank === undefined ? [spec] : [spec, ...lowRankSpecs(spec, rank)];
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
  const { input = [], rank, ...rest } = record;
  if (Object.keys(rest).length > 0) return `${Object.keys(rest)[0]} is not known; a newer version may have written it`;
  if (!Array.isArray(input)) return "wanted a list of steps as input";
  for (const step of input) {
    if (!isObject(step) || typeof step.kind !== "string") return "wanted a kind for every step";
    if (!stepKinds.find(step.kind)) return `the step "${step.kind}" is not known; a newer version may have written it`;
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
    ([, { input = [], rank }]) => rank !== undefined || input.some(({ kind }) => stepKinds.get(kind).essential),
  );
  return found?.[0];
}
