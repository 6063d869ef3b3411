// Runs `bitloom bench` on Node 24 or newer, where relaxed SIMD is: by itself, or through the package `node`, which bench/ has as a
// dependency of its own so that only those who measure install it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const newer = join(root, "bench", "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");
const own = Number(process.versions.node.split(".")[0]) >= 24;
if (!own && !existsSync(newer)) {
  process.stderr.write("installing Node 24 for the benches ...\n");
  const options = { stdio: ["ignore", 2, 2], shell: process.platform === "win32" };
  spawnSync("npm", ["ci", "--prefix", join(root, "bench"), "--no-audit", "--no-fund"], options);
}
if (!own && !existsSync(newer))
  process.stderr.write(`Node 24 is not installed here: measuring on ${process.version}\n`);
const node = own || !existsSync(newer) ? process.execPath : newer;
const main = join(root, "dist", "src", "cli", "main.js");
process.exitCode = spawnSync(node, [main, "bench", ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1;
