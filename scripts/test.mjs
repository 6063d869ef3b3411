// Runs the compiled tests with Node's test runner: all of them, or those whose path holds one of the given words.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const words = process.argv.slice(2);
const files = ["src", "test"]
  .flatMap((folder) => readdirSync(join(dist, folder), { recursive: true }).map((file) => join(dist, folder, file)))
  .filter(
    (file) =>
      file.endsWith(".test.js") && (words.length === 0 || words.some((word) => file.slice(dist.length).includes(word))),
  )
  .sort();
if (files.length === 0) {
  process.stderr.write(`no test matches ${words.join(" ")}\n`);
  process.exit(1);
}
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
process.exit(status ?? 1);
