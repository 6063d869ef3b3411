/** What `bitloom bench` can measure: one record each, from which the command's options, help, schema and errors are made. */
import { InputError } from "../../errors.js";
import type { Backend } from "../../kernels/index.js";
import type { Named } from "../../registry.js";
import type { Context } from "../command.js";
import { ENGINE_OPTIONS, EXACTNESS } from "../engine.js";
import { integer, type Option, type Options, type Values } from "../option.js";
import type { JsonSchema } from "../schema.js";
import type { Style } from "../terminal.js";

/** Of every verb; the number of threads has a default of each verb's own. */
export const COMMON_OPTIONS = {
  exactness: EXACTNESS,
  backend: ENGINE_OPTIONS.backend,
  threads: integer("--threads <n>", "threads to compute with", { min: 1, max: 256 }),
};

export interface VerbRecord<O extends Options, R extends object> extends Named {
  /** As help writes it: "decode MODEL". */
  readonly usage: string;
  /** What it does, for `--help`. */
  readonly description: string;
  readonly example: string;
  readonly options: O;
  /** Threads unless `--threads` says otherwise. */
  readonly threads: number;
  /** MODELs among `names` that the backend must have room for. */
  loads?(names: readonly string[]): readonly string[];
  /** Fields of the result besides `engine`, in JSON. */
  readonly fields: Readonly<Record<string, JsonSchema>>;
  run(setting: Setting, names: readonly string[], options: Values<O>): Promise<R>;
  /** The result as text; "" where `run` has written it already. */
  render(result: R, style: Style): string;
}

export interface Setting {
  readonly context: Context;
  readonly backend: Backend;
}

/** A verb whose types have been checked and may be forgotten. */
export type Verb = VerbRecord<Options, object>;

/** Infers the types of a verb from its record. */
export function verb<O extends Options, R extends object>(record: VerbRecord<O, R>): Verb {
  return record as unknown as Verb;
}

/** The options of all verbs as those of one command: each says which verbs take it, and has no default of its own. */
export function mergedOptions(verbs: readonly Verb[]): Options {
  const keys = [...new Set(verbs.flatMap(({ options }) => Object.keys(options)))];
  const merged = keys.map((key): [string, Option<unknown>] => {
    const takers = verbs.filter(({ options }) => options[key]);
    const texts = new Map<string, string[]>();
    for (const { name, options } of takers) {
      const said = described(options[key]);
      texts.set(said, [...(texts.get(said) ?? []), name]);
    }
    const description = [...texts].map(([text, names]) => `${names.join(", ")}: ${text}`).join("; ");
    const { flags, parse } = takers[0].options[key];
    return [key, { flags, parse, description }];
  });
  const single = verbs.filter(({ threads }) => threads === 1).map(({ name }) => name);
  const { threads: common } = COMMON_OPTIONS;
  const threads = {
    ...common,
    description: `${common.description} (default: ${single.join(", ")}: 1; others: all cores)`,
  };
  return { ...Object.fromEntries(merged), ...COMMON_OPTIONS, threads };
}

function described({ description, default: initial, defaultText }: Option<unknown>): string {
  const none = initial === undefined || initial === false || (Array.isArray(initial) && initial.length === 0);
  return none ? description : `${description} (default: ${defaultText ?? initial})`;
}

/** What a verb's `run` is given: its own options with their defaults; an InputError for another verb's that was given. */
export function ownOptions({ name, options }: Verb, given: Readonly<Record<string, unknown>>, all: Options) {
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || options[key] || key in COMMON_OPTIONS) continue;
    const flag = /--[a-z-]+/.exec(all[key].flags)?.[0];
    throw new InputError(`bench ${name} takes no ${flag}`, {
      kind: "options-disagree",
      why: `it belongs to ${all[key].description}`,
      try: "bitloom bench --help",
    });
  }
  return Object.fromEntries(Object.entries(options).map(([key, option]) => [key, given[key] ?? option.default]));
}

/** The one MODEL that a verb takes. */
export function oneModel(names: readonly string[], verb: string, example: string): string {
  const [name] = exactly(1, names, verb, example);
  return name;
}

export function exactly(wanted: number, names: readonly string[], verb: string, example: string): readonly string[] {
  if (names.length === wanted) return names;
  throw new InputError(`bench ${verb} takes ${wanted === 0 ? "no model" : "one model"}, got ${names.length}`, {
    kind: names.length < wanted ? "missing-argument" : undefined,
    try: example,
  });
}
