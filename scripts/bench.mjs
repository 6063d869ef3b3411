// Runs `bitloom bench` on Node 24 or newer, where relaxed SIMD is: by itself, or through the package `node` (a development dependency).
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const newer = join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");
const own = Number(process.versions.node.split(".")[0]) >= 24;
if (!own && !existsSync(newer))
  process.stderr.write(`Node 24 is not installed here: measuring on ${process.version}\n`);
const node = own || !existsSync(newer) ? process.execPath : newer;
const main = join(root, "dist", "src", "cli", "main.js");
process.exitCode = spawnSync(node, [main, "bench", ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1;
