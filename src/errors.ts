/**
 * The errors a user can meet. Each carries what happened, where, why and what to try, so that every surface (terminal,
 * JSON, later HTTP) prints the same four things; each class has one exit code. An error may name its kind, which has an
 * id that stays the same from version to version; `bitloom explain ID` and docs/errors.md say more about it.
 */

/**
 * Kinds of failure and their ids. The letters in the middle are the class that may have the kind, 000 its general one.
 * An id is never given to another kind; a new kind takes the next number.
 */
export const ERROR_IDS = {
  "wrong-use": "BL-US-000",
  "unknown-command": "BL-US-001",
  "unknown-option": "BL-US-002",
  "missing-argument": "BL-US-003",
  "unknown-name": "BL-US-004",
  "value-out-of-range": "BL-US-005",
  "options-disagree": "BL-US-006",
  "wrong-recipe": "BL-US-007",
  "text-not-utf8": "BL-US-008",
  "text-too-short": "BL-US-009",
  "context-full": "BL-US-010",
  "unknown-token": "BL-US-011",
  "output-is-input": "BL-US-012",
  "output-name": "BL-US-013",
  "no-calibration-text": "BL-US-014",
  "shapes-disagree": "BL-US-015",
  "unknown-tensor": "BL-US-016",

  "bad-file": "BL-IN-000",
  "missing-file": "BL-IN-001",
  "not-a-model": "BL-IN-002",
  "truncated-file": "BL-IN-003",
  "bad-header": "BL-IN-004",
  "overlapping-tensors": "BL-IN-005",
  "tensor-outside-file": "BL-IN-006",
  "missing-tensor": "BL-IN-007",
  "wrong-shape": "BL-IN-008",
  "duplicate-tensor": "BL-IN-009",
  "missing-shard": "BL-IN-010",
  "bad-json": "BL-IN-011",
  "bad-config": "BL-IN-012",
  "damaged-tokenizer": "BL-IN-013",
  "missing-tokenizer": "BL-IN-014",
  "vocabulary-mismatch": "BL-IN-015",
  "damaged-scales": "BL-IN-016",

  "not-supported": "BL-UN-000",
  "unsupported-architecture": "BL-UN-001",
  "foreign-file": "BL-UN-002",
  "unsupported-version": "BL-UN-003",
  "wrong-dtype": "BL-UN-004",
  "scheme-does-not-fit": "BL-UN-005",
  "unsupported-feature": "BL-UN-006",
  "unsupported-tokenizer": "BL-UN-007",
  "too-large": "BL-UN-008",
  "no-engine-feature": "BL-UN-009",

  "numbers-failed": "BL-NU-000",
  "non-finite-weights": "BL-NU-001",
  "non-finite-logits": "BL-NU-002",
  "number-out-of-range": "BL-NU-003",
  "singular-matrix": "BL-NU-004",
  "quality-limit": "BL-NU-005",

  "system-refused": "BL-IO-000",
  "no-permission": "BL-IO-001",
  "disk-full": "BL-IO-002",
  "path-not-writable": "BL-IO-003",
  "output-refused": "BL-IO-004",
} as const;

export type ErrorKind = keyof typeof ERROR_IDS;
export type ErrorId = (typeof ERROR_IDS)[ErrorKind];

/** The kinds whose ids have these letters in the middle. */
type KindOf<Family extends string> = {
  [K in ErrorKind]: (typeof ERROR_IDS)[K] extends `BL-${Family}-${string}` ? K : never;
}[ErrorKind];

export type InputKind = KindOf<"US">;
export type FileKind = KindOf<"IN">;
export type UnsupportedKind = KindOf<"UN">;
export type NumericKind = KindOf<"NU">;
export type SystemKind = KindOf<"IO">;

export interface ErrorDetails<Kind extends ErrorKind = ErrorKind> {
  /** Default: the general kind of the class. */
  readonly kind?: Kind;
  /** File, tensor, byte offset, option: where it happened. */
  readonly where?: string;
  /** The rule that was broken, with what was got and what was wanted. */
  readonly why?: string;
  /** What the user can do next. */
  readonly try?: string;
  readonly cause?: unknown;
}

export abstract class BitloomError<Kind extends ErrorKind = ErrorKind> extends Error {
  abstract readonly exitCode: number;
  /** The kind of an error that names none. */
  abstract readonly general: Kind;
  readonly details: ErrorDetails<Kind>;

  constructor(message: string, details: ErrorDetails<Kind> = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.details = details;
  }

  get kind(): Kind {
    return this.details.kind ?? this.general;
  }

  get id(): ErrorId {
    return ERROR_IDS[this.kind];
  }
}

/** The caller asked for something that makes no sense: a wrong flag, name, shape or value. */
export class InputError extends BitloomError<InputKind> {
  readonly exitCode = 2;
  readonly general = "wrong-use";
}

/** A file does not hold what it must: truncated, lying, inconsistent. */
export class FileError<Kind extends ErrorKind = FileKind> extends BitloomError<Kind | FileKind> {
  readonly exitCode: number = 3;
  readonly general: Kind | FileKind = "bad-file";
}

/** A file cannot be read or written, through no fault of its content: no permission, disk full, something in the way. */
export class SystemError extends FileError<SystemKind> {
  override readonly exitCode = 6;
  override readonly general = "system-refused";
}

/** Well-formed input that this version cannot handle: an architecture, a container type, a missing feature. */
export class UnsupportedError extends BitloomError<UnsupportedKind> {
  readonly exitCode = 4;
  readonly general = "not-supported";
}

/** Arithmetic that cannot go on: non-finite weights or logits, a singular matrix. */
export class NumericError extends BitloomError<NumericKind> {
  readonly exitCode = 5;
  readonly general = "numbers-failed";
}
