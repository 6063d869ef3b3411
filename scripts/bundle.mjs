// Joins the compiled command line into a few files, dist/bin/cli: starting reads 8 files in place of 300. Needs esbuild.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const outdir = join(dist, "bin", "cli");
rmSync(outdir, { recursive: true, force: true });
await build({
  // The files of threads and processes stand beside the code that starts them.
  entryPoints: ["cli/main.js", "kernels/wasm/worker.js", "quantize/row-worker.js", "bench/process-probe.js"].map(
    (file) => join(dist, "src", file),
  ),
  entryNames: "[name]",
  outdir,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  packages: "external",
});
