/**
 * The values of GGUF metadata. GGUF tells u32 from i32 from f32, JavaScript has numbers: so a value is carried in two
 * forms. `Metadata` holds plain values, which is what readers want; a `GgufValue` holds the type as well, which is what
 * a faithful copy wants. Writing takes either: `gguf.u32(7)` is exactly that, a plain 7 follows `typedValue`'s rules.
 * Source: ggml docs/gguf.md, `gguf_metadata_value_type`.
 */
import { InputError } from "../../errors.js";
import type { MetadataValue } from "../checkpoint.js";
import { quote } from "../source.js";

/** In the order of their ids, 0 .. 12. */
export const VALUE_TYPES = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
export type ValueType = (typeof VALUE_TYPES)[number];
export type ScalarType = Exclude<ValueType, "array">;

export type GgufScalar = {
  readonly type: ScalarType;
  readonly value: string | number | bigint | boolean;
};

/** `of: "array"`: the items are arrays again, each with an item type of its own. */
export type GgufArray =
  | { readonly type: "array"; readonly of: ScalarType; readonly value: readonly (string | number | bigint | boolean)[] }
  | { readonly type: "array"; readonly of: "array"; readonly value: readonly GgufArray[] };

export type GgufValue = GgufScalar | GgufArray;

/** Short ways to say a type: `gguf.f32(1e-5)`, `gguf.array("i32", types)`. */
export const gguf = {
  u8: (value: number): GgufScalar => ({ type: "u8", value }),
  i8: (value: number): GgufScalar => ({ type: "i8", value }),
  u16: (value: number): GgufScalar => ({ type: "u16", value }),
  i16: (value: number): GgufScalar => ({ type: "i16", value }),
  u32: (value: number): GgufScalar => ({ type: "u32", value }),
  i32: (value: number): GgufScalar => ({ type: "i32", value }),
  f32: (value: number): GgufScalar => ({ type: "f32", value }),
  f64: (value: number): GgufScalar => ({ type: "f64", value }),
  u64: (value: number | bigint): GgufScalar => ({ type: "u64", value }),
  i64: (value: number | bigint): GgufScalar => ({ type: "i64", value }),
  bool: (value: boolean): GgufScalar => ({ type: "bool", value }),
  string: (value: string): GgufScalar => ({ type: "string", value }),
  array: (of: ScalarType, value: readonly (string | number | bigint | boolean)[]): GgufArray => {
    return { type: "array", of, value };
  },
};

/** Bytes of a number or truth value; strings and arrays have no fixed size. */
export const FIXED_BYTES: Readonly<Partial<Record<ValueType, number>>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
};

/** The value without its types. */
export function plainValue(value: GgufValue): MetadataValue {
  if (value.type !== "array") return value.value;
  return value.of === "array" ? value.value.map(plainValue) : value.value;
}

/**
 * The type of a plain value whose key says it: floating-point keys, because 10000 or 1 looks like an integer, and the
 * arrays of the tokenizer. Source: gguf-py, gguf/gguf_writer.py.
 */
const TYPE_OF_KEY: readonly (readonly [RegExp, ScalarType])[] = [
  [/\.(layer_norm_epsilon|layer_norm_rms_epsilon|group_norm_epsilon)$/, "f32"],
  [/\.(freq_base|freq_base_swa|scaling\.(factor|attn_factor|yarn_log_multiplier))$/, "f32"],
  [/\.(logit_scale|attention\.scale|residual_scale|embedding_scale|clamp_kqv|max_alibi_bias)$/, "f32"],
  [/^tokenizer\.ggml\.scores$/, "f32"],
  [/^tokenizer\.ggml\.token_type$/, "i32"],
  [/^tokenizer\.ggml\.(tokens|merges|added_tokens)$/, "string"],
];

/**
 * A value with its type. A value that carries its type keeps it. A plain one gets the type that its key is known to
 * have, or else: text string, truth value bool, whole number u32 (below zero i32; beyond 32 bits u64, i64), other
 * number f32, bigint u64 or i64; an array takes the one type that holds all its items, whole numbers i32.
 */
export function typedValue(key: string, value: unknown): GgufValue {
  if (isTyped(value)) return checked(key, value);
  const known = TYPE_OF_KEY.find(([pattern]) => pattern.test(key))?.[1];
  if (!Array.isArray(value)) return checked(key, { type: known ?? scalarType(key, value), value } as GgufScalar);
  return checked(key, { type: "array", of: known ?? itemType(key, value), value } as GgufArray);
}

function isTyped(value: unknown): value is GgufValue {
  if (typeof value !== "object" || value === null) return false;
  const { type } = value as { type?: unknown };
  return typeof type === "string" && (VALUE_TYPES as readonly string[]).includes(type);
}

function scalarType(key: string, value: unknown): ScalarType {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return value >= 0n ? "u64" : "i64";
  if (typeof value !== "number") throw mistyped(key, value, "text, a number, a truth value or an array of them");
  if (!Number.isInteger(value)) return "f32";
  if (value >= 0) return value < 2 ** 32 ? "u32" : "u64";
  return value >= -(2 ** 31) ? "i32" : "i64";
}

function itemType(key: string, items: readonly unknown[]): ScalarType {
  const types = new Set(items.map((item) => scalarType(key, item)));
  const only = (...allowed: ScalarType[]) => [...types].every((type) => allowed.includes(type));
  const small = (item: unknown) => typeof item === "number" && item < 2 ** 31;
  if (types.size === 0)
    throw mistyped(key, items, 'a typed value for an empty array: { type: "array", of, value: [] }');
  if (only("u32", "i32")) return items.every(small) ? "i32" : "i64";
  if (only("string")) return "string";
  if (only("bool")) return "bool";
  if (only("u32", "i32", "u64", "i64")) return types.has("i32") || types.has("i64") ? "i64" : "u64";
  if (only("u32", "i32", "f32")) return "f32";
  throw mistyped(key, items, "items of one type");
}

/** The value itself if everything in it fits its type; an InputError otherwise. */
function checked(key: string, value: GgufValue): GgufValue {
  if (value.type !== "array") {
    if (!fits(value.type, value.value)) throw mistyped(key, value.value, `a value of type ${value.type}`);
    return value;
  }
  if (!Array.isArray(value.value)) throw mistyped(key, value.value, "an array");
  const { of } = value;
  for (const item of value.value as readonly unknown[]) {
    if (of === "array") checked(key, item as GgufArray);
    else if (!fits(of, item)) throw mistyped(key, item, `items of type ${of}`);
  }
  return value;
}

const WHOLE_BITS: Readonly<Partial<Record<ScalarType, readonly [bits: number, signed: boolean]>>> = {
  u8: [8, false],
  i8: [8, true],
  u16: [16, false],
  i16: [16, true],
  u32: [32, false],
  i32: [32, true],
  u64: [64, false],
  i64: [64, true],
};

function fits(type: ScalarType, value: unknown): boolean {
  if (type === "string") return typeof value === "string" && !/\p{Surrogate}/u.test(value);
  if (type === "bool") return typeof value === "boolean";
  if (type === "f64") return typeof value === "number";
  // An infinity may be written, a finite number that would become one may not.
  if (type === "f32")
    return typeof value === "number" && (Number.isFinite(Math.fround(value)) || !Number.isFinite(value));
  const [bits, signed] = WHOLE_BITS[type] ?? [0, false];
  if (typeof value === "number" ? !Number.isSafeInteger(value) : typeof value !== "bigint") return false;
  const whole = BigInt(value as number | bigint);
  return (signed ? BigInt.asIntN(bits, whole) : BigInt.asUintN(bits, whole)) === whole;
}

function mistyped(key: string, value: unknown, wanted: string): InputError {
  const got =
    typeof value === "bigint" ? `${value}n` : JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v));
  return new InputError(`metadata ${quote(key)} cannot be written as GGUF`, {
    where: `key ${quote(key)}`,
    why: `wanted ${wanted}, got ${(got ?? String(value)).slice(0, 200)}`,
  });
}
