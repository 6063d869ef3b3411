/** The tokenizer that belongs to a checkpoint: in a GGUF file's metadata, or in the files of a folder. */
import { FileError } from "../../errors.js";
import type { Checkpoint } from "../checkpoint.js";
import { folderOf, readFileIfThere, readJsonIfThere } from "../side-files.js";
import type { Tokenizer } from "../tokenizer.js";
import { tokenizerFromJson } from "./byte-pair.js";
import { definitionFromFiles, type TokenizerDefinition } from "./definition.js";
import { definitionFromGguf } from "./from-gguf.js";

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
  const tokenizer = await json("tokenizer.json");
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
    tokenizerConfig: await json("tokenizer_config.json"),
    generationConfig: await json("generation_config.json"),
    config: await json("config.json"),
    chatTemplate: await readFileIfThere(`${folder}/chat_template.jinja`, async (file) =>
      new TextDecoder().decode(await file.read(0, file.size)),
    ),
    source,
  });
}
