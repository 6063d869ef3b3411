/** What MODEL and FILE mean on the command line. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fileError } from "../checkpoints/file.js";
import { InputError } from "../errors.js";
import type { Argument } from "./command.js";

export const MODEL: Argument = { name: "MODEL", description: "Hugging Face folder, GGUF file, or the word demo" };

/** The model that comes with Bitloom, and the text that was kept out of its training. */
export const DEMO_FOLDER = fileURLToPath(new URL("../../../demo", import.meta.url));
export const DEMO_TEXT = join(DEMO_FOLDER, "held-out.txt");
/** From its training text: what a method that looks at activations looks at, unless told otherwise. */
export const DEMO_CALIBRATION = join(DEMO_FOLDER, "calibration.txt");

/** A folder called demo is meant by `./demo`. */
export const modelPath = (argument: string): string => (argument === "demo" ? DEMO_FOLDER : argument);

/** The bytes of a text FILE, "-" meaning standard input; an InputError unless they are UTF-8. */
export async function readText(path: string): Promise<string> {
  const bytes = path === "-" ? await readStandardInput() : await readWholeFile(path);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new InputError("the text is not UTF-8", {
      kind: "text-not-utf8",
      where: path,
      try: `iconv -t utf-8 ${path}`,
      cause,
    });
  }
}

async function readWholeFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileError(error, `cannot read ${path}`, { where: path });
  }
}

async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
