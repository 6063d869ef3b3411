// Node 24 or newer, where relaxed SIMD is: this process's own, or the package `node`, which bench/ has as a dependency of its
// own so that only those who measure or compare engines install it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const bench = fileURLToPath(new URL("../bench", import.meta.url));
const windows = process.platform === "win32";
const installed = join(bench, "node_modules", "node", "bin", windows ? "node.exe" : "node");

/** The path of Node 24 or newer, installed now if need be; undefined if it cannot be had here. */
export function newerNode() {
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  if (!existsSync(installed)) {
    process.stderr.write("installing Node 24 ...\n");
    const options = { stdio: ["ignore", 2, 2], shell: windows };
    spawnSync("npm", ["ci", "--prefix", bench, "--no-audit", "--no-fund"], options);
  }
  return existsSync(installed) ? installed : undefined;
}
