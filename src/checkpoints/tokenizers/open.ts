/** The tokenizer that belongs to a checkpoint: in a GGUF file's metadata, or in the files of a folder. */
import { FileError } from "../../errors.js";
import type { ByteSource, Checkpoint, Metadata } from "../checkpoint.js";
import { readJsonObject } from "../json.js";
import type { Tokenizer } from "../tokenizer.js";
import { tokenizerFromJson } from "./byte-pair.js";
import { definitionFromFiles, type TokenizerDefinition } from "./definition.js";
import { definitionFromGguf } from "./from-gguf.js";

const MAX_JSON_BYTES = 256 * 2 ** 20;

export async function openTokenizer(checkpoint: Checkpoint): Promise<Tokenizer> {
  return tokenizerFromJson(await openDefinition(checkpoint));
}

export async function openDefinition(checkpoint: Checkpoint): Promise<TokenizerDefinition> {
  if (checkpoint.container === "gguf") return definitionFromGguf(checkpoint.metadata, checkpoint.path);
  // A single file of weights was named: its folder has the rest.
  const file = /^(.*?)[/\\]?[^/\\]*\.(?:safetensors|json)$/.exec(checkpoint.path);
  return definitionFromFolder(file ? file[1] || "." : checkpoint.path);
}

/** Reads tokenizer.json and, where they are there, the files beside it. */
export async function definitionFromFolder(folder: string): Promise<TokenizerDefinition> {
  const { fileSource } = await import("../file.js");
  const { access } = await import("node:fs/promises");
  const optional = async <T>(name: string, read: (source: ByteSource) => Promise<T>): Promise<T | undefined> => {
    const path = `${folder}/${name}`;
    try {
      await access(path);
    } catch {
      return undefined;
    }
    const source = await fileSource(path);
    try {
      return await read(source);
    } finally {
      await source.close();
    }
  };
  const json = (name: string): Promise<Metadata | undefined> =>
    optional(name, (source) => readJsonObject(source, MAX_JSON_BYTES));
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
    chatTemplate: await optional("chat_template.jinja", async (file) =>
      new TextDecoder().decode(await file.read(0, file.size)),
    ),
    source,
  });
}
