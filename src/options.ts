/**
 * Options as data. A record that may be configured (a quantization method, a transform) lists its options with type,
 * range, default and one line of summary; command line flags, the recipe's JSON Schema and the generated docs read that.
 */
import { InputError } from "./errors.js";
import { suggestion } from "./registry.js";

interface Described {
  readonly summary: string;
}

export interface NumberOption extends Described {
  readonly kind: "number" | "integer";
  readonly default: number;
  readonly min?: number;
  readonly max?: number;
}

export interface ChoiceOption<C extends string = string> extends Described {
  readonly kind: "choice";
  readonly choices: readonly C[];
  readonly default: C;
}

export interface SwitchOption extends Described {
  readonly kind: "switch";
  readonly default: boolean;
}

export type OptionRecord = NumberOption | ChoiceOption | SwitchOption;
export type OptionRecords = Readonly<Record<string, OptionRecord>>;
export type OptionValue = number | string | boolean;
export type OptionValues = Readonly<Record<string, OptionValue>>;

/** The value type of every option of a list of records. */
export type ValuesOf<O extends OptionRecords> = {
  readonly [K in keyof O]: O[K] extends NumberOption
    ? number
    : O[K] extends ChoiceOption<infer C>
      ? C
      : O[K] extends SwitchOption
        ? boolean
        : never;
};

/** One choice of several; keeps the literal type of the names. */
export function choice<const C extends string>(summary: string, choices: readonly C[], initial: C): ChoiceOption<C> {
  return { kind: "choice", summary, choices, default: initial };
}

/**
 * The given values checked, the others at their defaults. Text is read as the option's type, as the command line gives
 * it. InputError for a name that is not listed or a value out of range; `owner` says whose options these are.
 */
export function readOptions<O extends OptionRecords>(
  records: O,
  given: Readonly<Record<string, unknown>>,
  owner: string,
): ValuesOf<O> {
  for (const name of Object.keys(given)) {
    if (records[name]) continue;
    const known = Object.keys(records);
    throw new InputError(`${owner} has no option "${name}"`, {
      kind: "unknown-name",
      try: known.length > 0 ? suggestion(name, known) : "it takes none",
    });
  }
  const entries = Object.entries(records).map(([name, record]) => {
    const value = given[name];
    return [name, value === undefined ? record.default : readValue(record, value, `${owner}, option ${name}`)];
  });
  return Object.fromEntries(entries);
}

function readValue(record: OptionRecord, value: unknown, where: string): OptionValue {
  const wrong = (wanted: string) =>
    new InputError(`${where} does not take ${JSON.stringify(value)}`, {
      kind: "value-out-of-range",
      where,
      why: `wanted ${wanted}`,
    });
  if (record.kind === "choice") {
    if (typeof value === "string" && record.choices.includes(value)) return value;
    throw wrong(`one of ${record.choices.join(", ")}`);
  }
  if (record.kind === "switch") {
    if (typeof value === "boolean") return value;
    if (value === "true" || value === "false") return value === "true";
    throw wrong("true or false");
  }
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  const fits = typeof number === "number" && Number.isFinite(number) && isWithin(record, number);
  if (fits) return number;
  throw wrong(rangeOf(record));
}

function isWithin({ kind, min = -Infinity, max = Infinity }: NumberOption, value: number): boolean {
  return value >= min && value <= max && (kind === "number" || Number.isInteger(value));
}

/** "an integer from 1 to 8", for messages and docs. */
export function rangeOf(record: OptionRecord): string {
  if (record.kind === "choice") return record.choices.join(", ");
  if (record.kind === "switch") return "true or false";
  const noun = record.kind === "integer" ? "an integer" : "a number";
  const { min, max } = record;
  if (min !== undefined && max !== undefined) return `${noun} from ${min} to ${max}`;
  if (min !== undefined) return `${noun} of at least ${min}`;
  return max === undefined ? noun : `${noun} of at most ${max}`;
}

/** JSON Schema of the object that sets some of these options. */
export function optionsSchema(records: OptionRecords): Record<string, unknown> {
  const properties = Object.entries(records).map(([name, record]) => {
    const common = { description: record.summary, default: record.default };
    if (record.kind === "choice") return [name, { enum: record.choices, ...common }];
    if (record.kind === "switch") return [name, { type: "boolean", ...common }];
    const { kind, min, max } = record;
    const range = { ...(min !== undefined && { minimum: min }), ...(max !== undefined && { maximum: max }) };
    return [name, { type: kind, ...range, ...common }];
  });
  return { type: "object", properties: Object.fromEntries(properties), additionalProperties: false };
}
