/**
 * What linear maps do besides their matrices (linear.ts), as files keep it. Steps and pairs are data. The metadata of a file hold,
 * under `bitloom.linears`, a JSON object from the role of a linear map to its `LinearRecord`; a pair's tensors stand beside the
 * weight, `NAME.lowrank_a` and `NAME.lowrank_b`, columns kept apart as `NAME.apart`.
 */
import type { Metadata } from "../checkpoints/checkpoint.js";
import { FileError } from "../errors.js";
import type { WeightSpec } from "./architecture.js";
import { stepKinds } from "./steps/index.js";
import type { StepRecord } from "./steps/step.js";

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
