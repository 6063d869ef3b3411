/** Finding added tokens in a text: the leftmost, of several at one place the longest. */
import type { AddedToken } from "./vocabulary.js";

/** A stretch of plain text, or an added token. */
export type Section = { readonly text: string; readonly start: number } | { readonly id: number };

export type Splitter = (text: string) => readonly Section[];

/** A node of the tree of contents: what may follow, by UTF-16 unit, and the token that ends here. */
interface Node {
  readonly next: Map<number, Node>;
  token?: AddedToken;
}

export function addedTokenSplitter(tokens: readonly (readonly [content: string, token: AddedToken])[]): Splitter {
  const root = treeOf(tokens);
  return (text) => {
    const sections: Section[] = [];
    let end = 0;
    for (let at = 0; at < text.length; at++) {
      const match = root.next.has(text.charCodeAt(at)) ? longestAt(root, text, at) : undefined;
      const [from, to] = match === undefined ? [at, at] : extent(text, at, match.end, match.token, end);
      if (match === undefined || from === to) continue;
      if (from > end) sections.push({ text: text.slice(end, from), start: end });
      sections.push({ id: match.token.id });
      end = to;
      at = to - 1;
    }
    if (end < text.length) sections.push({ text: text.slice(end), start: end });
    return sections;
  };
}

function treeOf(tokens: readonly (readonly [content: string, token: AddedToken])[]): Node {
  const root: Node = { next: new Map() };
  for (const [content, token] of tokens) {
    let node = root;
    for (let i = 0; i < content.length; i++) {
      const unit = content.charCodeAt(i);
      const child: Node = node.next.get(unit) ?? { next: new Map() };
      node.next.set(unit, child);
      node = child;
    }
    if (node !== root) node.token = token;
  }
  return root;
}

function longestAt(root: Node, text: string, at: number): { token: AddedToken; end: number } | undefined {
  let found: { token: AddedToken; end: number } | undefined;
  let node: Node | undefined = root;
  for (let i = at; i < text.length; i++) {
    node = node.next.get(text.charCodeAt(i));
    if (node === undefined) break;
    if (node.token !== undefined) found = { token: node.token, end: i + 1 };
  }
  return found;
}

const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;

/** What a match takes of the text: with the white space around it, or nothing if it must be a word and is not. */
function extent(text: string, index: number, to: number, token: AddedToken, end: number): [number, number] {
  if (token.singleWord && (WORD.test(before(text, index)) || WORD.test(after(text, to)))) return [index, index];
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
