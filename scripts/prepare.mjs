// Installs and builds what is missing or older than its sources. Plain Node, because nothing else is there yet.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const at = (...parts) => join(root, ...parts);
const changed = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

function run(what, command, args) {
  process.stderr.write(`${what} ...\n`);
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (error || status !== 0) {
    process.stderr.write(`${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ""}\n`);
    process.exit(status || 1);
  }
}

/** The latest change of a source in a folder; 0 for a folder that is not there. */
function newest(folder) {
  if (!existsSync(folder)) return 0;
  const times = readdirSync(folder, { withFileTypes: true }).map((entry) => {
    if (entry.isDirectory()) return entry.name === "node_modules" ? 0 : newest(join(folder, entry.name));
    return entry.name.endsWith(".ts") ? changed(join(folder, entry.name)) : 0;
  });
  return Math.max(0, ...times);
}

/** `npx bitloom` finds the command here, without asking a registry. */
function linkCommand() {
  const main = at("dist", "bin", "cli", "main.js");
  const link = at("node_modules", ".bin", "bitloom");
  mkdirSync(at("node_modules", ".bin"), { recursive: true });
  if (process.platform === "win32") {
    // Links need rights there; npm too writes a batch file that calls node.
    writeFileSync(`${link}.cmd`, '@node "%~dp0..\\..\\dist\\bin\\cli\\main.js" %*\r\n');
    return;
  }
  chmodSync(main, 0o755);
  const target = join("..", "..", "dist", "bin", "cli", "main.js");
  if (existsSync(link) && readlinkSync(link) === target) return;
  rmSync(link, { force: true });
  symlinkSync(target, link);
}

if (changed(at("node_modules", ".package-lock.json")) < changed(at("package-lock.json"))) {
  run("installing dependencies", "npm", ["ci", "--no-audit", "--no-fund"]);
}
/** Removes what was compiled from sources that are gone, so that their tests do not run for ever. */
function prune() {
  for (const file of readdirSync(at("dist"), { recursive: true })) {
    const source = file.replace(/(\.d\.ts|\.js\.map|\.js)$/, ".ts");
    if (source !== file && !existsSync(at(source))) rmSync(at("dist", file));
  }
}

const stamp = at("dist", ".built");
const sources = ["src", "test", "bench"].map((folder) => newest(at(folder)));
const settings = ["tsconfig.json", "package-lock.json"].map((file) => changed(at(file)));
if (changed(stamp) < Math.max(...sources, ...settings)) {
  const begin = new Date();
  run("building", process.execPath, [at("node_modules", "typescript", "bin", "tsc")]);
  prune();
  run("bundling", process.execPath, [at("scripts", "bundle.mjs")]);
  writeFileSync(stamp, "");
  utimesSync(stamp, begin, begin);
}
linkCommand();
