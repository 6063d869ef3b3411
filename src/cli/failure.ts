/** What went wrong, in the same four fields on the terminal and in JSON, with the exit code that goes with it. */
import { BitloomError } from "../errors.js";
import { EXIT } from "./exit-codes.js";
import { schemaName } from "./schema.js";
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

export interface Failure {
  readonly error: string;
  readonly message: string;
  readonly where?: string;
  readonly why?: string;
  readonly try?: string;
  readonly exitCode: number;
}

/** A path that cannot be read because it is not what it should be: exit 3, a bad input file. The rest is exit 6. */
const PATH_CODES: readonly string[] = ["ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP"];
const READING: readonly string[] = ["open", "read", "stat", "lstat", "realpath", "scandir"];
const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "check the path",
  ENOSPC: "free some space, or write to another disk",
  EDQUOT: "free some space, or write to another disk",
  EACCES: "check who owns the file and its folder",
  EPERM: "check who owns the file and its folder",
  EROFS: "write to another folder",
};

const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string";

const systemExitCode = ({ code = "", syscall = "" }: NodeJS.ErrnoException) =>
  PATH_CODES.includes(code) && READING.includes(syscall) ? EXIT.file : EXIT.io;

export function failureOf(error: unknown): Failure {
  if (error instanceof BitloomError) {
    const { where, why, try: advice } = error.details;
    const exitCode = isSystemError(error.cause) ? systemExitCode(error.cause) : error.exitCode;
    return { error: error.name, message: error.message, where, why, try: advice, exitCode };
  }
  if (error instanceof Interrupted) return { error: error.name, message: error.message, exitCode: error.exitCode };
  if (isSystemError(error)) {
    const message = `the system refused: ${error.syscall}`;
    const advice = ADVICE[error.code ?? ""];
    return {
      error: "SystemError",
      message,
      where: error.path,
      why: error.message,
      try: advice,
      exitCode: systemExitCode(error),
    };
  }
  return {
    error: "InternalError",
    message: error instanceof Error ? error.message : String(error),
    why: "this is a fault in bitloom, not in what you gave it",
    try: "set BITLOOM_DEBUG=1 to see where it happened, and report it",
    exitCode: EXIT.internal,
  };
}

/** The fields as `error:`, `-->`, `why:` and `try:`, further lines of a field indented below it. */
export function failureText(failure: Failure, style: Style): string {
  if (failure.error === "Interrupted") return `${failure.message}\n`;
  const fields = [
    ["  --> ", failure.where],
    ["  why: ", failure.why],
    ["  try: ", failure.try],
  ] as const;
  const lines = fields
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([head, value]) => style.dim(head) + printable(value ?? "").replaceAll("\n", `\n${" ".repeat(head.length)}`));
  return `${[`${style.error("error:")} ${printable(failure.message)}`, ...lines].join("\n")}\n`;
}

/** The one JSON document of a failed command. */
export const failureJson = (failure: Failure): string =>
  `${JSON.stringify({ schema: schemaName("error"), ...failure }, null, 2)}\n`;
