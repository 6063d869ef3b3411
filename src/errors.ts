/**
 * The errors a user can meet. Each carries what happened, where, why and what to try, so that every surface (terminal,
 * JSON, later HTTP) prints the same four things; each class has one exit code.
 */
export interface ErrorDetails {
  /** File, tensor, byte offset, option: where it happened. */
  readonly where?: string;
  /** The rule that was broken, with what was got and what was wanted. */
  readonly why?: string;
  /** What the user can do next. */
  readonly try?: string;
  readonly cause?: unknown;
}

export abstract class BitloomError extends Error {
  abstract readonly exitCode: number;
  readonly details: ErrorDetails;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.details = details;
  }
}

/** The caller asked for something that makes no sense: a wrong flag, name, shape or value. */
export class InputError extends BitloomError {
  readonly exitCode = 2;
}

/** A file does not hold what it must: truncated, lying, inconsistent. */
export class FileError extends BitloomError {
  readonly exitCode = 3;
}

/** Well-formed input that this version cannot handle: an architecture, a container type, a missing feature. */
export class UnsupportedError extends BitloomError {
  readonly exitCode = 4;
}

/** Arithmetic that cannot go on: non-finite weights or logits, a singular matrix. */
export class NumericError extends BitloomError {
  readonly exitCode = 5;
}
