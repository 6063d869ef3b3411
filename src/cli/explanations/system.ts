import type { SystemKind } from "../../errors.js";
import type { Explanation } from "./explanation.js";

/** The content is fine, the place is not. */
export const SYSTEM: Readonly<Record<SystemKind, Explanation>> = {
  "system-refused": {
    title: "the system refused",
    meaning: "Reading or writing failed for a reason of the operating system that has no kind of its own.",
    causes: ["too many open files", "a device or network disk that failed"],
    remedies: ["the line after why: is the system's own message"],
  },
  "no-permission": {
    title: "no permission",
    meaning: "The user who runs the command may not read or write there.",
    causes: ["files of another user", "a folder without write permission"],
    remedies: ["ls -l shows who may", "write to another folder"],
  },
  "disk-full": {
    title: "the disk is full",
    meaning:
      "There is not enough room for the output. It is asked before the work where the system tells, and nothing is left.",
    causes: ["a full disk or quota", "an old output that stays until the new one is complete"],
    remedies: ["free some space, or write to another disk", "bitloom quantize --dry-run tells the bytes"],
  },
  "path-not-writable": {
    title: "nothing can be written at this path",
    meaning: "A part of the path is a file, the name is taken or too long, or the file system is read-only.",
    causes: ["a file where a folder is wanted", "a read-only disk"],
    remedies: ["name another output"],
  },
  "output-refused": {
    title: "something else stands where the output should go",
    meaning: "An output replaces an older model, and nothing else: not a folder with other files, not a device.",
    causes: ["-o names a folder with things of yours in it", "-o x.gguf where x.gguf is a folder"],
    remedies: ["name another output, or remove what is there"],
  },
};
