// Builds llama-quantize, llama-imatrix and llama-perplexity from the sources that node-llama-cpp carries, for measuring only.
//
//     node bench/llama-cpp/build.mjs [FOLDER]
//
// Needs git, cmake, a C++ compiler, and node-llama-cpp: `npm run test:engines` installs it, or BITLOOM_NODE_LLAMA_CPP names
// its folder. Nothing is downloaded. The default FOLDER is .cache/llama-cpp, where compare.js looks for the tools.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = resolve(process.argv[2] ?? join(root, ".cache", "llama-cpp"));
const carrier = process.env.BITLOOM_NODE_LLAMA_CPP ?? join(root, "test", "engines", "node_modules", "node-llama-cpp");
const bundle = join(carrier, "llama", "gitRelease.bundle");
const TOOLS = ["llama-quantize", "llama-imatrix", "llama-perplexity"];
const SETTINGS = {
  CMAKE_BUILD_TYPE: "Release",
  GGML_NATIVE: "ON",
  LLAMA_BUILD_COMMON: "ON",
  LLAMA_BUILD_TOOLS: "ON",
  LLAMA_BUILD_TESTS: "OFF",
  LLAMA_BUILD_EXAMPLES: "OFF",
  LLAMA_BUILD_SERVER: "OFF",
  LLAMA_CURL: "OFF",
  LLAMA_OPENSSL: "OFF",
};

function run(command, args) {
  process.stderr.write(`${command} ${args.join(" ")}\n`);
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", 2, 2] });
  if (error) process.stderr.write(`${command}: ${error.message}\n`);
  if (error || status !== 0) process.exit(status || 1);
}

if (!existsSync(bundle)) {
  process.stderr.write(`no sources of llama.cpp: ${bundle} is not there; npm run test:engines installs it\n`);
  process.exit(2);
}
const [source, build] = [join(folder, "src"), join(folder, "build")];
mkdirSync(folder, { recursive: true });
if (!existsSync(source)) run("git", ["clone", "--quiet", bundle, source]);
const settings = Object.entries(SETTINGS).map(([name, value]) => `-D${name}=${value}`);
run("cmake", ["-S", source, "-B", build, ...settings]);
run("cmake", ["--build", build, "--parallel", String(availableParallelism()), "--target", ...TOOLS]);
process.stdout.write(`${join(build, "bin")}\n`);
