/** Finding added tokens in a text: the leftmost, of several at one place the longest. */
import { escaped } from "./patterns.js";
import type { AddedToken } from "./vocabulary.js";

/** A stretch of plain text, or an added token. */
export type Section = { readonly text: string; readonly start: number } | { readonly id: number };

export type Splitter = (text: string) => readonly Section[];

export function addedTokenSplitter(tokens: readonly (readonly [content: string, token: AddedToken])[]): Splitter {
  if (tokens.length === 0) return (text) => (text === "" ? [] : [{ text, start: 0 }]);
  const byContent = new Map(tokens);
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const any = new RegExp(longestFirst.map(escaped).join("|"), "g");
  return (text) => {
    const sections: Section[] = [];
    let end = 0;
    for (const match of text.matchAll(any)) {
      const token = byContent.get(match[0]);
      const [from, to] = token === undefined ? [0, 0] : extent(text, match.index, match[0].length, token, end);
      if (token === undefined || from === to || match.index < end) continue;
      if (from > end) sections.push({ text: text.slice(end, from), start: end });
      sections.push({ id: token.id });
      end = to;
    }
    if (end < text.length) sections.push({ text: text.slice(end), start: end });
    return sections;
  };
}

const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;

/** What a match takes of the text: with the white space around it, or nothing if it must be a word and is not. */
function extent(text: string, index: number, length: number, token: AddedToken, end: number): [number, number] {
  const to = index + length;
  if (token.singleWord && (WORD.test(before(text, index)) || WORD.test(after(text, to)))) return [0, 0];
  const left = token.leftStrip ? text.slice(end, index).trimEnd().length + end : index;
  const right = token.rightStrip ? text.length - text.slice(to).trimStart().length : to;
  return [left, right];
}

const after = (text: string, index: number) =>
  index < text.length ? String.fromCodePoint(text.codePointAt(index) ?? 0) : "";

function before(text: string, index: number): string {
  const unit = text.slice(Math.max(0, index - 2), index);
  return [...unit].at(-1) ?? "";
}
