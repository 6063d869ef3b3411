/** The tokenizer that belongs to a checkpoint: in a GGUF file's metadata, or in the files of a folder. */
import { FileError } from "../../errors.js";
import type { Checkpoint } from "../checkpoint.js";
import { folderOf, readFileIfThere, readJsonIfThere } from "../side-files.js";
import type { Tokenizer } from "../tokenizer.js";
import { definitionFromFiles, type TokenizerDefinition } from "./definition.js";
import { definitionFromGguf } from "./from-gguf.js";
import { tokenizerFromJson } from "./from-json.js";
import { bertJson } from "./word-piece.js";

export async function openTokenizer(checkpoint: Checkpoint): Promise<Tokenizer> {
  return tokenizerFromJson(await openDefinition(checkpoint));
}

export async function openDefinition(checkpoint: Checkpoint): Promise<TokenizerDefinition> {
  if (checkpoint.container === "gguf") return definitionFromGguf(checkpoint.metadata, checkpoint.path);
  return definitionFromFolder(folderOf(checkpoint));
}

/** Reads tokenizer.json and, where they are there, the files beside it. */
export async function definitionFromFolder(folder: string): Promise<TokenizerDefinition> {
  const json = (name: string) => readJsonIfThere(`${folder}/${name}`);
  const source = `${folder}/tokenizer.json`;
  const tokenizerConfig = await json("tokenizer_config.json");
  const tokenizer = (await json("tokenizer.json")) ?? (await fromVocabulary(folder, tokenizerConfig));
  if (tokenizer === undefined) {
    throw new FileError("the folder has no tokenizer.json", {
      kind: "missing-tokenizer",
      where: folder,
      why: "text cannot be turned into tokens without it",
      try: "if there is a tokenizer.model, convert it: transformers' AutoTokenizer.from_pretrained(...).save_pretrained(...)",
    });
  }
  return definitionFromFiles({
    tokenizer,
    tokenizerConfig,
    generationConfig: await json("generation_config.json"),
    config: await json("config.json"),
    chatTemplate: await readFileIfThere(`${folder}/chat_template.jinja`, async (file) =>
      new TextDecoder().decode(await file.read(0, file.size)),
    ),
    source,
  });
}

/** What older folders of BERT have in place of tokenizer.json: a vocab.txt, one token a line. */
async function fromVocabulary(folder: string, settings: unknown): Promise<unknown> {
  const text = await readFileIfThere(`${folder}/vocab.txt`, async (file) =>
    new TextDecoder("utf-8", { fatal: true }).decode(await file.read(0, file.size)),
  );
  return text === undefined ? undefined : bertJson(text.replace(/\r?\n$/, "").split(/\r?\n/), settings ?? {});
}
