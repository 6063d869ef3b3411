/**
 * Command line options as data. An option knows how to read its text, so that every command refuses a bad value in the
 * same words (what was got, what was wanted), and knows its type, so that a command's `run` receives typed values.
 */
import { InputError } from "../errors.js";
import { type Named, type Registry, suggestion } from "../registry.js";

export interface Option<T> {
  /** As help prints it: "-o, --output <path>". A flag without a `<value>` is a switch. */
  readonly flags: string;
  readonly description: string;
  /** Reads the text; `previous` is the value so far, for options that may be repeated. */
  parse?(text: string, previous?: T): T;
  readonly default?: T;
  /** What help says in place of the default value. */
  readonly defaultText?: string;
  readonly required?: boolean;
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type Values<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

interface Range {
  readonly min?: number;
  readonly max?: number;
}

/** "--tokens <n>" -> "--tokens". */
const longName = (flags: string) => /--[a-z-]+/.exec(flags)?.[0] ?? flags;

function wantedRange(noun: string, { min, max }: Range): string {
  if (min !== undefined && max !== undefined) return `${noun} from ${min} to ${max}`;
  return min === undefined ? noun : `${noun} of at least ${min}`;
}

function numeric(flags: string, noun: string, range: Range, fits: (value: number) => boolean) {
  const wanted = wantedRange(noun, range);
  return (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = range;
    if (Number.isFinite(value) && fits(value) && value >= min && value <= max) return value;
    throw new InputError(`${longName(flags)} does not take "${text}"`, {
      kind: "value-out-of-range",
      where: `option ${flags}`,
      why: `got "${text}", wanted ${wanted}`,
    });
  };
}

type NumberSettings<D> = Range & { readonly default?: D; readonly defaultText?: string };

export function integer<D extends number | undefined = undefined>(
  flags: string,
  description: string,
  settings: NumberSettings<D> = {},
): Option<number | D> {
  const { min, max, ...rest } = settings;
  return { flags, description, parse: numeric(flags, "an integer", { min, max }, Number.isSafeInteger), ...rest };
}

export function decimal<D extends number | undefined = undefined>(
  flags: string,
  description: string,
  settings: NumberSettings<D> = {},
): Option<number | D> {
  const { min, max, ...rest } = settings;
  return { flags, description, parse: numeric(flags, "a number", { min, max }, () => true), ...rest };
}

export const text = (flags: string, description: string): Option<string | undefined> => ({ flags, description });

export const textOr = (flags: string, description: string, initial: string): Option<string> => ({
  flags,
  description,
  default: initial,
});

/** One of a few words. */
export function choice<const C extends string>(
  flags: string,
  description: string,
  choices: readonly C[],
  initial: C,
): Option<C> {
  const parse = (given: string): C => {
    const found = choices.find((one) => one === given);
    if (found !== undefined) return found;
    throw new InputError(`${longName(flags)} does not take "${given}"`, {
      kind: "unknown-name",
      where: `option ${flags}`,
      try: suggestion(given, choices),
    });
  };
  return { flags, description: `${description}: ${choices.join(", ")}`, parse, default: initial };
}

/** A text option that must be given. */
export const requiredText = (flags: string, description: string): Option<string> => ({
  flags,
  description,
  required: true,
});

export const flag = (flags: string, description: string): Option<boolean> => ({ flags, description, default: false });

/** The entry's own name, however it is written: llama.cpp's users say Q4_0. An InputError with a suggestion otherwise. */
const nameIn = <T extends Named>(known: Registry<T>, name: string) =>
  (known.find(name.toLowerCase()) ?? known.get(name)).name;

/** A name out of a registry; its `get` decides, so that families (int4-g64) are accepted too. */
export function optionalName<T extends Named>(
  flags: string,
  description: string,
  known: Registry<T>,
): Option<string | undefined> {
  return { flags, description, parse: (name) => nameIn(known, name) };
}

/** The same, required unless there is a default. */
export function named<T extends Named>(
  flags: string,
  description: string,
  known: Registry<T>,
  initial?: string,
): Option<string> {
  const option = { flags, description, parse: (name: string) => nameIn(known, name) };
  return initial === undefined ? { ...option, required: true } : { ...option, default: initial };
}

/** Several names with commas between. */
export function names<T extends Named>(
  flags: string,
  description: string,
  known: Registry<T>,
  initial: readonly string[],
): Option<readonly string[]> {
  const parse = (list: string) => list.split(",").map((name) => nameIn(known, name.trim()));
  return { flags, description, parse, default: initial, defaultText: initial.join(", ") };
}

/** An option that may be given many times. */
export function repeated<T>(flags: string, description: string, read: (text: string) => T): Option<readonly T[]> {
  const parse = (text: string, previous: readonly T[] = []) => [...previous, read(text)];
  return { flags, description: `${description}; may be repeated`, parse, default: [], defaultText: "none" };
}

/** Reads "name=value" for a repeated option that sets things by name. */
export function readSetting(text: string): readonly [name: string, value: string] {
  const cut = text.indexOf("=");
  if (cut > 0) return [text.slice(0, cut), text.slice(cut + 1)];
  throw new InputError(`"${text}" sets nothing`, {
    kind: "value-out-of-range",
    why: `got "${text}", wanted name=value`,
  });
}
