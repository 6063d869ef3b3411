/** Every kind of failure with its id and what to say about it: drives `bitloom explain`, docs/errors.md and the schema. */
import { ERROR_IDS, type ErrorId, type ErrorKind } from "../../errors.js";
import { type Named, registry } from "../../registry.js";
import { EXIT } from "../exit-codes.js";
import type { Explanation } from "./explanation.js";
import { FILE } from "./file.js";
import { NUMERIC } from "./numeric.js";
import { SYSTEM } from "./system.js";
import { UNSUPPORTED } from "./unsupported.js";
import { USE } from "./use.js";

/** Not thrown as a class of ours: everything that none of them is. */
export const INTERNAL_ID = "BL-BU-000";

export interface ErrorRecord extends Named, Explanation {
  /** The id. */
  readonly name: ErrorId | typeof INTERNAL_ID;
  /** The same in words, as the library's errors carry it. */
  readonly kind: ErrorKind | "internal-fault";
  readonly exitCode: number;
}

const INTERNAL: Explanation = {
  title: "a fault inside bitloom",
  meaning: "Something happened that should not be possible, whatever the input.",
  causes: ["a mistake of ours"],
  remedies: ["set BITLOOM_DEBUG=1 to see where it happened, and report it with the command line"],
};

const recordsOf = (exitCode: number, explanations: Readonly<Partial<Record<ErrorKind, Explanation>>>) =>
  Object.entries(explanations).map(([name, explanation]): ErrorRecord => {
    const kind = name as ErrorKind;
    return { name: ERROR_IDS[kind], kind, aliases: [kind], exitCode, ...explanation };
  });

export const explanations = registry<ErrorRecord>("error id", [
  { name: INTERNAL_ID, kind: "internal-fault", aliases: ["internal-fault"], exitCode: EXIT.internal, ...INTERNAL },
  ...recordsOf(EXIT.usage, USE),
  ...recordsOf(EXIT.file, FILE),
  ...recordsOf(EXIT.unsupported, UNSUPPORTED),
  ...recordsOf(EXIT.quality, NUMERIC),
  ...recordsOf(EXIT.io, SYSTEM),
]);
