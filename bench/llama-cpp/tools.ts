/** llama.cpp's own command line tools, as far as the comparison needs them. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const NAMES = ["llama-quantize", "llama-imatrix", "llama-perplexity"] as const;
type Name = (typeof NAMES)[number];

export interface LlamaTools {
  readonly version: string;
  /** An importance matrix of `model` from `text`, in windows of `context` tokens. */
  imatrix(model: string, text: string, output: string, context: number): void;
  /** Every matrix in the same `type`; with importance if a file is named. */
  quantize(model: string, output: string, type: string, imatrix?: string): void;
  /** Keeps what `model` says of the first `chunks` windows, for `divergence`. */
  remember(model: string, text: string, kept: string, context: number, chunks: number): void;
  /** Perplexity over the second half of every window, and the divergence from what was kept. */
  divergence(model: string, kept: string, context: number): { readonly perplexity: number; readonly kl: number };
}

/** What of the tools is not in `folder`. */
export const missingTools = (folder: string): readonly string[] =>
  NAMES.filter((name) => !existsSync(join(folder, name)));

/** Keys and values in f32 and no fused attention, so that only the weights' own arithmetic is left. */
const EXACT = ["--flash-attn", "off", "--cache-type-k", "f32", "--cache-type-v", "f32"];

export function llamaTools(folder: string, threads: number): LlamaTools {
  const run = (name: Name, args: readonly string[]): string => {
    const done = spawnSync(join(folder, name), args, { encoding: "utf8", maxBuffer: 2 ** 28 });
    if (done.status === 0) return done.stdout + done.stderr;
    const ending = done.status ?? done.signal ?? done.error?.message;
    throw new Error(`${name} ${args.join(" ")} ended with ${ending}:\n${tailOf(done.stdout + done.stderr)}`);
  };
  const perplexity = (args: readonly string[]) =>
    run("llama-perplexity", [...args, ...EXACT, "--threads", String(threads)]);
  return {
    version: versionOf(join(folder, "llama-imatrix")),
    imatrix(model, text, output, context) {
      const settings = ["--ctx-size", String(context), "--threads", String(threads), "--process-output"];
      run("llama-imatrix", ["-m", model, "-f", text, "-o", output, ...settings]);
    },
    quantize(model, output, type, imatrix) {
      const same = ["--pure", "--token-embedding-type", type, "--output-tensor-type", type];
      run("llama-quantize", [...same, ...(imatrix ? ["--imatrix", imatrix] : []), model, output, fileType(type)]);
    },
    remember(model, text, kept, context, chunks) {
      const size = ["--ctx-size", String(context), "--chunks", String(chunks)];
      perplexity(["-m", model, "-f", text, "--kl-divergence-base", kept, ...size]);
    },
    divergence(model, kept, context) {
      const said = perplexity([
        ...["-m", model, "--kl-divergence-base", kept, "--kl-divergence", "--ctx-size", String(context)],
      ]);
      return { perplexity: numberAfter(said, "Mean PPL(Q) "), kl: numberAfter(said, "Mean    KLD:") };
    },
  };
}

/** Files of one type are named after it, but for K-quants, which come in mixtures; S is the one that --pure makes pure. */
const fileType = (type: string): string => (/^q[2345]_k$/.test(type) ? `${type}_s` : type).toUpperCase();

/** The number that follows the last `label`, which the tool may have left out or said "nan" for. */
function numberAfter(text: string, label: string): number {
  const at = text.lastIndexOf(label);
  const word = at < 0 ? undefined : /^[\s:]*(\S+)/.exec(text.slice(at + label.length))?.[1];
  const found = Number(word ?? Number.NaN);
  if (Number.isFinite(found)) return found;
  throw new Error(`llama-perplexity said ${word ?? "nothing"} for "${label.trim()}":\n${tailOf(text)}`);
}

const tailOf = (text: string): string => text.split("\n").slice(-8).join("\n");

function versionOf(tool: string): string {
  const said = spawnSync(tool, ["--version"], { encoding: "utf8" });
  return /version: (.*)/.exec(said.stdout + said.stderr)?.[1] ?? "unknown";
}
