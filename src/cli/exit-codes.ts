/** What the exit code of `bitloom` says, the one list behind `--help`, docs/cli.md and the tests. */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  file: 3,
  unsupported: 4,
  quality: 5,
  io: 6,
  partial: 7,
  interrupted: 130,
  terminated: 143,
} as const;

export const EXIT_CODES: readonly { readonly code: number; readonly meaning: string }[] = [
  { code: EXIT.ok, meaning: "success" },
  { code: EXIT.internal, meaning: "a fault inside bitloom; please report it" },
  { code: EXIT.usage, meaning: "wrong usage: an unknown flag, command or scheme, a value out of range" },
  { code: EXIT.file, meaning: "a bad input file: missing, truncated, inconsistent, not a model" },
  { code: EXIT.unsupported, meaning: "well-formed input that this version cannot handle" },
  { code: EXIT.quality, meaning: "a quality limit was missed (--max-kl), or numbers that are not finite" },
  { code: EXIT.io, meaning: "a file cannot be read or written: permission, full disk, name taken" },
  { code: EXIT.partial, meaning: "reserved: only a part of the result could be made" },
  { code: EXIT.interrupted, meaning: "interrupted (Ctrl-C); no output was left behind" },
  { code: EXIT.terminated, meaning: "terminated (SIGTERM); no output was left behind" },
];
