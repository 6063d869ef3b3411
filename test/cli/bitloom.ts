/** Runs the command, inside this process or as a user's shell would, and what else the tests here share. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { commands } from "../../src/cli/index.js";
import { runCli } from "../../src/cli/program.js";

export const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

function collector() {
  const parts: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      parts.push(String(chunk));
      done();
    },
  });
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => parts.join("") };
}

/** Runs a command line in this process, with streams that are no terminal. */
export async function bitloom(args: readonly string[]): Promise<Outcome> {
  const [stdout, stderr] = [collector(), collector()];
  const code = await runCli(args, commands.entries, "0.0.0", { stdout: stdout.stream, stderr: stderr.stream });
  return { code, signal: null, stdout: stdout.text(), stderr: stderr.text() };
}

interface Settings {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called once with the running process. */
  readonly onStart?: (child: ChildProcess) => void;
}

/** Runs a command line in a process of its own. */
export function spawnBitloom(
  args: readonly string[],
  { input = "", env = {}, onStart }: Settings = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, CI: "", NO_COLOR: "", BITLOOM_DEBUG: "", ...env },
  });
  const parts = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    parts.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    parts.stderr += text;
  });
  child.stdin.on("error", () => child.stdin.destroy());
  child.stdin.end(input);
  onStart?.(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...parts }));
  });
}

/** A folder that is gone when the tests of the file have run. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-cli-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** For the `skip` of a test that runs the bundled model. */
export const withoutDemo = existsSync(join(ROOT, "demo", "model.safetensors"))
  ? false
  : "skipped, because the demo model is not there";
