// Runs `bitloom bench` on Node 24 or newer, if it can be had.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { newerNode } from "./newer-node.mjs";

const node = newerNode();
if (!node) process.stderr.write(`Node 24 is not installed here: measuring on ${process.version}\n`);
const main = fileURLToPath(new URL("../dist/src/cli/main.js", import.meta.url));
const args = [main, "bench", ...process.argv.slice(2)];
process.exitCode = spawnSync(node ?? process.execPath, args, { stdio: "inherit" }).status ?? 1;
