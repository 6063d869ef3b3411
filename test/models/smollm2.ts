/** Where the real model is, and what the checks ask of it. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../../../", import.meta.url);

export const MODEL = fileURLToPath(new URL(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf", root));
export const GOLDEN = fileURLToPath(new URL("test/models/golden/smollm2.json", root));

/** Why nothing can be checked, for the `skip` of a test; false if it can. */
export const missing: string | false = existsSync(MODEL)
  ? false
  : "skipped, because SmolLM2 is not here: node test/models/fetch-smollm2.mjs fetches it (94 MiB)";

/** What llama.cpp says of the model. */
export interface Golden {
  /** Release of llama.cpp. */
  readonly llamaCpp: string;
  readonly texts: readonly string[];
  /** For each text, its ids with special tokens taken as text, and with special tokens recognised. */
  readonly ids: readonly (readonly [plain: number[], parsed: number[]])[];
  /** The most likely continuation of each prompt. */
  readonly continuations: readonly { readonly prompt: string; readonly ids: number[] }[];
  readonly passage: {
    readonly text: string;
    readonly ids: number[];
    /** -ln p of every id but the first, after those before it. */
    readonly nll: number[];
    /** The same from the weights in f32, with which llama.cpp does not round activations. */
    readonly nllF32: number[];
  };
}
