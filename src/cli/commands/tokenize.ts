import { openCheckpoint, openTokenizer, type Tokenizer } from "../../checkpoints/index.js";
import { InputError } from "../../errors.js";
import { command } from "../command.js";
import { MODEL, modelPath, readText } from "../model-path.js";
import { flag, requiredText } from "../option.js";
import { closed, count, list, string } from "../schema.js";

interface Tokens {
  readonly ids: readonly number[];
  readonly count: number;
  readonly text?: string;
}

const output = closed({ ids: list(count()), count: count() }, { text: string("only with --decode") });

async function withTokenizer<T>(path: string, work: (tokenizer: Tokenizer) => T): Promise<T> {
  const checkpoint = await openCheckpoint(modelPath(path));
  try {
    return work(await openTokenizer(checkpoint));
  } finally {
    await checkpoint.close();
  }
}

/** Ids as `tokenize` prints them: numbers with white space or commas between, or the JSON document. */
export function readIds(content: string, file: string, vocabulary: number): number[] {
  const words = content.trimStart().startsWith("{") ? idsOfDocument(content, file) : content.split(/[\s,[\]]+/);
  return words
    .filter((word) => word !== "")
    .map((word, index) => {
      const id = /^\d+$/.test(word) ? Number(word) : Number.NaN;
      if (id < vocabulary) return id;
      throw new InputError(`"${word.slice(0, 40)}" is not a token id`, {
        kind: "unknown-token",
        where: `${file}, number ${index + 1}`,
        why: `wanted an integer from 0 to ${vocabulary - 1}`,
      });
    });
}

function idsOfDocument(content: string, file: string): string[] {
  try {
    const { ids } = JSON.parse(content) as { ids: unknown };
    if (Array.isArray(ids)) return ids.map(String);
  } catch (cause) {
    throw new InputError("the file of ids is not JSON", { where: file, why: String(cause), cause });
  }
  throw new InputError("the document has no list of ids", { where: file, try: "bitloom tokenize MODEL --json" });
}

export const tokenize = command({
  name: "tokenize",
  summary: "turn text into token ids, or back with --decode",
  description:
    "The ids are those that the model is given: with a beginning-of-text token where it wants one. --decode writes the " +
    "text exactly, without an added line end, and leaves such tokens out unless --special is given.",
  arguments: [MODEL],
  options: {
    text: requiredText("--text <file>", "UTF-8 text, with --decode a list of ids; - reads standard input"),
    decode: flag("--decode", "from ids to text"),
    special: flag("--special", "recognise special tokens in the text; with --decode, show them"),
  },
  examples: [
    "bitloom tokenize demo --text demo/held-out.txt --json",
    "echo 'Call me Ishmael.' | bitloom tokenize demo --text - | bitloom tokenize demo --decode --text -",
  ],
  output,
  async run(_context, [model], { text: file, decode, special }): Promise<Tokens> {
    const content = await readText(file);
    return withTokenizer(model, (tokenizer) => {
      if (!decode) {
        const ids = tokenizer.encode(content, { parseSpecial: special });
        return { ids, count: ids.length };
      }
      const ids = readIds(content, file, tokenizer.size);
      return { ids, count: ids.length, text: tokenizer.decode(ids, { skipSpecial: !special }) };
    });
  },
  render: ({ ids, text }) => text ?? `${ids.join(" ")}\n`,
});
