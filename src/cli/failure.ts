/** What went wrong, in the same fields on the terminal and in JSON, with the exit code that goes with it. */
import { fileError, isSystemError } from "../checkpoints/file.js";
import { BitloomError, type ErrorId } from "../errors.js";
import { EXIT } from "./exit-codes.js";
import { INTERNAL_ID } from "./explanations/index.js";
import { printable, type Style } from "./terminal.js";

/** Thrown by whatever was running when a signal came. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: "SIGINT" | "SIGTERM") {
    super(signal === "SIGINT" ? "interrupted" : "terminated");
    this.name = "Interrupted";
    this.exitCode = signal === "SIGINT" ? EXIT.interrupted : EXIT.terminated;
  }
}

/** Thrown where what was running has left something that the next run goes on from; its cause says why it ended. */
export class Unfinished extends Error {
  readonly kept: string;

  constructor(cause: unknown, kept: string) {
    super("unfinished", { cause });
    this.name = "Unfinished";
    this.kept = kept;
  }
}

export interface Failure {
  readonly error: string;
  /** What `bitloom explain` takes; a signal has none. */
  readonly id?: ErrorId | typeof INTERNAL_ID;
  readonly message: string;
  readonly where?: string;
  readonly why?: string;
  readonly try?: string;
  /** What was finished before, where it is, and what can be done with it. */
  readonly kept?: string;
  readonly exitCode: number;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof Unfinished) return { ...failureOf(error.cause), kept: error.kept };
  if (error instanceof BitloomError) {
    const { name, id, message, exitCode, details } = error;
    return { error: name, id, message, where: details.where, why: details.why, try: details.try, exitCode };
  }
  if (error instanceof Interrupted) return { error: error.name, message: error.message, exitCode: error.exitCode };
  // A rejected promise of Node's own file functions has a `syscall`; other codes of Node's are faults of this program.
  if (isSystemError(error) && error.syscall !== undefined) {
    const what = error.path === undefined ? error.syscall : `${error.syscall} ${error.path}`;
    return failureOf(fileError(error, `the system refused: ${what}`, { where: error.path }));
  }
  return {
    error: "InternalError",
    id: INTERNAL_ID,
    message: error instanceof Error ? error.message : String(error),
    why: "this is a fault in bitloom, not in what you gave it",
    try: "set BITLOOM_DEBUG=1 to see where it happened, and report it",
    exitCode: EXIT.internal,
  };
}

/** The fields as `error[ID]:`, `-->`, `why:`, `try:` and `more:`, further lines of a field indented below it. */
export function failureText(failure: Failure, style: Style): string {
  const { id, message, where, why, kept, exitCode } = failure;
  if (id === undefined) return [message, ...(kept === undefined ? [] : [printable(kept)]), ""].join("\n");
  const fields = [
    ["  --> ", where],
    ["  why: ", why],
    ["  try: ", failure.try],
    ["  kept: ", kept],
    ["  more: ", `bitloom explain ${id} (exit ${exitCode}; --json carries the same fields)`],
  ] as const;
  const lines = fields
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([head, value]) => style.dim(head) + printable(value ?? "").replaceAll("\n", `\n${" ".repeat(head.length)}`));
  return `${[`${style.error(`error[${id}]:`)} ${printable(message)}`, ...lines].join("\n")}\n`;
}
