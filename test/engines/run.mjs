// The real engine check, `npm run test:engines`: installs llama.cpp for this folder and Node 24 for bench/, then runs
// dist/test/engines/*.engine.js.
//
// node-llama-cpp lists the binaries of every platform and GPU as optional packages, gigabytes in all. They are omitted;
// the one that is used, linux-x64 without GPU, is a dependency of this folder's own. The overrides in package.json put it
// in the place of all others as well, so that the lock file does not ask a registry for platforms it may not have.
// Nothing is compiled or downloaded after the install: scripts are off.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { newerNode } from "../../scripts/newer-node.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const compiled = here("../../dist/test/engines/");
const stamp = here("node_modules/.installed-lock.json");
const lock = readFileSync(here("package-lock.json"), "utf8");

function run(command, args, options) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (error) process.stderr.write(`${command}: ${error.message}\n`);
  if (error || status !== 0) process.exit(status || 1);
}

if (process.platform !== "linux" || process.arch !== "x64") {
  process.stderr.write(`llama.cpp is not installed: only linux-x64 is, this is ${process.platform}-${process.arch}\n`);
} else if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  process.stderr.write("installing llama.cpp for test/engines ...\n");
  const flags = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"];
  run("npm", ["ci", ...flags], { cwd: here("."), stdio: ["ignore", 2, 2] });
  writeFileSync(stamp, lock);
}
const files = readdirSync(compiled).filter((file) => file.endsWith(".engine.js"));
const env = { ...process.env, BITLOOM_NEWER_NODE: newerNode() ?? "" };
run(process.execPath, ["--enable-source-maps", "--test", ...files.map((file) => compiled + file)], { env });
