/**
 * Regular expressions of tokenizer.json are written for Oniguruma, in which `\s` is Unicode's White_Space, `(?i:` folds
 * case for a group and `.` stops only at a newline. Here they become JavaScript's. What has no counterpart (possessive
 * and atomic groups, set operations, anchors) is refused, because another meaning would give other tokens.
 */
import { type JsonObject, shown, textAt, unsupported } from "./faults.js";

/** A `{ "String": ... }` or `{ "Regex": ... }` of tokenizer.json as a global JavaScript expression. */
export function pattern(value: JsonObject, source: string, key: string): RegExp {
  if (value.String !== undefined) return literal(textAt(value.String, source, `${key}.String`));
  const regex = textAt(value.Regex, source, `${key}.Regex`);
  try {
    return new RegExp(fromOniguruma(regex), "gu");
  } catch (error) {
    const why = `${error instanceof Error ? error.message : shown(error)}, in ${shown(regex)}`;
    throw unsupported(source, `${key}.Regex`, why);
  }
}

/** An expression that matches exactly this text. */
export const literal = (text: string) => new RegExp(escaped(text), "gu");

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
const SETS: Readonly<Record<string, string>> = {
  s: "\\p{White_Space}",
  S: "\\P{White_Space}",
  d: "\\p{Nd}",
  D: "\\P{Nd}",
  h: "0-9A-Fa-f",
  w: WORD,
};

/** One unit of the source: an escape, the head of a group, a quantifier in braces, or a character. */
const UNIT =
  /\\(?:[pP]\{[^}]*\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)|\((?:\?(?:<[=!]|[a-zA-Z]+:|.))?|\{\d+(?:,\d*)?\}|./gsu;

/** The same expression for the flag u; throws a SyntaxError that says what has no counterpart. */
export function fromOniguruma(regex: string): string {
  const folding: boolean[] = [false];
  let inSet = false;
  let previous = "";
  let result = "";
  for (const [unit] of regex.matchAll(UNIT)) {
    const fold = folding[folding.length - 1];
    if (inSet && (unit === "[" || (unit === "&" && previous === "&"))) throw new SyntaxError("a set inside a set");
    if (!inSet && unit === "+" && /^[*+?]$|^\{/.test(previous)) throw new SyntaxError("a possessive quantifier");
    if (unit.startsWith("\\")) result += escapeOf(unit, inSet);
    else if (inSet) {
      if (fold && /\p{L}/u.test(unit)) throw new SyntaxError("a set inside a group that folds case");
      inSet = unit !== "]";
      result += unit.startsWith("(") || unit.startsWith("{") ? unit.replace(/[({})]/g, "\\$&") : unit;
    } else if (unit.startsWith("(")) {
      folding.push(fold || unit === "(?i:");
      result += groupHead(unit);
    } else {
      if (unit === ")") folding.pop();
      inSet = unit === "[";
      result += fold ? foldCase(unit) : plain(unit);
    }
    previous = unit;
  }
  return result;
}

function escapeOf(unit: string, inSet: boolean): string {
  const name = unit.slice(1);
  if (name in SETS) return inSet || /^[sSdD]$/.test(name) ? SETS[name] : `[${SETS[name]}]`;
  if (name === "W" && !inSet) return `[^${WORD}]`;
  if (name.length > 1 || /^[rntfv]$/.test(name)) return unit;
  if (/[A-Za-z0-9]/.test(name)) throw new SyntaxError(`the escape ${unit}`);
  return /[\\^$.*+?()[\]{}|/]/.test(name) || (name === "-" && inSet) ? unit : name;
}

function groupHead(unit: string): string {
  if (unit === "(?i:") return "(?:";
  if (["(", "(?:", "(?=", "(?!", "(?<=", "(?<!"].includes(unit)) return unit;
  throw new SyntaxError(`the group ${unit}`);
}

function plain(unit: string): string {
  if (unit === ".") return "[^\\n]";
  if (unit === "^" || unit === "$") throw new SyntaxError(`the anchor ${unit}`);
  return /^[\]{}]$/.test(unit) ? `\\${unit}` : unit;
}

/** The letters that Oniguruma takes for the same: `s` is also "ſ" (U+017F), `k` the Kelvin sign. */
function foldCase(unit: string): string {
  if (!/^\p{L}$/u.test(unit)) return plain(unit);
  const same = new Set([unit, unit.toLowerCase(), unit.toUpperCase()]);
  if (same.has("s")) same.add("ſ");
  if (same.has("k")) same.add("\u212a");
  if ([...same].some((letter) => letter.length !== 1)) throw new SyntaxError(`the case of ${unit}`);
  return `[${[...same].join("")}]`;
}
