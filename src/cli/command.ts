/**
 * A command is one record in a file of its own: what it is called, what it takes, what its result looks like, and what
 * it does. The parser, `--help`, `--json`, docs/cli.md and the JSON Schema files are all derived from the record.
 */
import type { BitloomError } from "../errors.js";
import type { Named } from "../registry.js";
import type { Options, Values } from "./option.js";
import type { Progress } from "./progress.js";
import type { JsonSchema } from "./schema.js";
import type { Style } from "./terminal.js";

export interface Argument {
  /** As help prints it: "MODEL". */
  readonly name: string;
  readonly description: string;
  /** "any": none or more, only as the last argument. Default: exactly one. */
  readonly count?: "any";
}

/** What a command may use of the world outside it. */
export interface Context {
  readonly style: Style;
  readonly progress: Progress;
  /** True if the result will be printed as JSON (--json or --stream): nothing else may go to standard output then. */
  readonly json: boolean;
  /** Part of a result that appears while it is made (generated text). Waits while the reader is slow. */
  write(text: string): Promise<void>;
  /** With --stream: prints a line for a part of the result that is ready. Nothing otherwise. */
  emit(part: object): Promise<void>;
  /** Text for a person who watches: on standard error, and only if that is a terminal. */
  note(text: string): void;
}

/** What `--stream` prints while a command works: a line of JSON for each part of the result. */
export interface Parts {
  /** What a part is: "token". Its schema is called bitloom.COMMAND.token/1. */
  readonly name: string;
  readonly description: string;
  readonly output: JsonSchema;
}

/** One text for each argument; any number where the last may be given any number of times. */
type ArgumentTexts<A extends readonly Argument[]> = A extends readonly [...infer _, { readonly count: "any" }]
  ? readonly string[]
  : { readonly [K in keyof A]: string };

export interface CommandRecord<A extends readonly Argument[], O extends Options, R extends object> extends Named {
  readonly summary: string;
  /** More than the summary, for `--help` and docs/cli.md. */
  readonly description?: string;
  readonly arguments: A;
  readonly options: O;
  readonly examples: readonly string[];
  /** What `--json` prints: an object without its `schema` field, or a list. */
  readonly output: JsonSchema;
  /** For a command that has `--stream`. */
  readonly parts?: Parts;
  run(context: Context, args: ArgumentTexts<A>, options: Values<O>): Promise<R>;
  /** The result as text; "" where `run` has written it already. */
  render(result: R, style: Style, options: Values<O>): string;
  /** An error to end with although there is a result: a quality limit that was missed. */
  verdict?(result: R, options: Values<O>): BitloomError | undefined;
}

/** A command whose types have been checked and may be forgotten. */
export type Command = CommandRecord<readonly Argument[], Options, object>;

/** Infers the types of a command from its record. */
export function command<const A extends readonly Argument[], O extends Options, R extends object>(
  record: CommandRecord<A, O, R>,
): Command {
  return record as unknown as Command;
}
