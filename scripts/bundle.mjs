// Joins the compiled command line into a few files, dist/bin/cli: starting reads 8 files in place of 300. Needs esbuild.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const outdir = join(dist, "bin", "cli");
rmSync(outdir, { recursive: true, force: true });
await build({
  // The worker's file stands beside the code that starts it.
  entryPoints: [join(dist, "src", "cli", "main.js"), join(dist, "src", "kernels", "wasm", "worker.js")],
  entryNames: "[name]",
  outdir,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  packages: "external",
});
