/** llama.cpp and Bitloom's own kernels, open from before the tests of a file until after them, with a folder for their files. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { type Backend, createBackend } from "../../src/kernels/index.js";
import { type LlamaCpp, llamaCpp } from "./llama-cpp.js";

/** There from the first test on. */
export interface BothEngines {
  readonly llama: LlamaCpp;
  readonly backend: Backend;
}

/** `absent`: why the tests are skipped; then nothing is opened. */
export function bothEngines(absent: string | false): { readonly folder: string; readonly engines: BothEngines } {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-engines-"));
  const opened: { -readonly [K in keyof BothEngines]?: BothEngines[K] } = {};
  before(async () => {
    if (absent) return;
    opened.llama = await llamaCpp();
    opened.backend = await createBackend("wasm");
  });
  after(async () => {
    await opened.llama?.dispose();
    await opened.backend?.dispose();
    rmSync(folder, { recursive: true });
  });
  return { folder, engines: opened as BothEngines };
}
