/** Finished parts: what a changed recipe takes up, who may use them, and what is found before any of them is made. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type BitloomError, SystemError } from "../errors.js";
import { type QuantizeOptions, quantizeModel, type Recipe, tryQuantization } from "./index.js";
import { openWork, workFolder } from "./work.js";

const demo = new URL("../../../demo", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "bitloom-work-"));
const at = (name: string) => join(folder, name);
after(() => rmSync(folder, { recursive: true }));
const calibrationText = async () => readFileSync(join(demo, "calibration.txt"), "utf8").slice(0, 2048);

const recipe = (scheme: string, pattern: string, sequential: "layers" | "none"): Recipe => ({
  recipe: 1,
  calibration: { windows: 2, window: 32, sequential },
  steps: [
    { quantize: "imatrix", scheme, tensors: pattern, options: { steps: 2 } },
    { quantize: "imatrix", scheme: "q4_0", options: { steps: 2 } },
    { cache: scheme === "q8_0" ? "int8-g32" : "f16" },
  ],
});
const run = (name: string, options: Partial<QuantizeOptions>) =>
  quantizeModel({ input: demo, output: at(name), calibrationText, ...options });

test("another scheme for one pattern redoes its layers alone, and those after them where quantized layers feed the next", async () => {
  // Five layers and the head, which is the embedding.
  for (const [sequential, takenUp] of [
    ["none", 5],
    ["layers", 3],
  ] as const) {
    const shared = { parts: at(`parts-${sequential}`) };
    const first = await run("first.gguf", { recipe: recipe("q5_0", "layers\\.3\\.", sequential), ...shared });
    const again = await run("again.gguf", {
      recipe: recipe("q5_0", "blk\\.3\\.|layers\\.3\\.", sequential),
      ...shared,
    });
    const other = await run("other.gguf", { recipe: recipe("q8_0", "layers\\.3\\.", sequential), ...shared });
    assert.deepEqual([first.takenUp, again.takenUp, other.takenUp], [0, 6, takenUp], sequential);
    const alone = await run("alone.gguf", { recipe: recipe("q8_0", "layers\\.3\\.", sequential) });
    assert.equal(alone.takenUp, 0);
    assert.ok(
      readFileSync(at("alone.gguf")).equals(readFileSync(at("other.gguf"))),
      "parts of another run, same bytes",
    );
    assert.ok(!existsSync(workFolder(at("alone.gguf"))), "what is not asked for does not stay");
  }
});

test("a second run into the same output is refused while the first is at work, and not after it", async () => {
  const first = await openWork(at("both.gguf"));
  await assert.rejects(run("both.gguf", { recipe: recipe("q5_0", "query", "none") }), (error) => {
    assert.ok(error instanceof SystemError && error.message.startsWith("another run is at work on"), String(error));
    return true;
  });
  await first.close(false);
  assert.ok(!existsSync(workFolder(at("both.gguf"))), "nothing was finished, so nothing stays");
  // A process that no longer lives: beyond the highest id of Linux.
  const second = await openWork(at("both.gguf"));
  writeFileSync(join(workFolder(at("both.gguf")), `${2 ** 22 + 1}-1.lock`), "");
  await second.close(false);
  const third = await openWork(at("both.gguf"));
  assert.equal(readdirSync(workFolder(at("both.gguf"))).length, 1);
  await third.close(true);
});

test("a weight that is not a number, an output that cannot be, and too small a disk are found before work starts", async () => {
  cpSync(demo, at("damaged"), { recursive: true });
  const file = at(join("damaged", "model.safetensors"));
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  const [start] = header["model.layers.4.mlp.up_proj.weight"].data_offsets;
  bytes.writeUInt16LE(0x7fc0, 8 + length + start + 20);
  writeFileSync(file, bytes);
  const stages: string[] = [];
  const settings = {
    recipe: recipe("q5_0", "query", "none"),
    onProgress: ({ name }: { name: string }) => void stages.push(name),
  };
  const told = (pattern: RegExp) => (error: BitloomError) => {
    assert.match(`${error.message} ${error.details.where} ${error.details.why}`, pattern);
    return true;
  };
  const damaged = { ...settings, input: at("damaged"), output: at("x.gguf"), calibrationText };
  await assert.rejects(quantizeModel(damaged), told(/is NaN .*model\.layers\.4\.mlp\.up_proj\.weight", index 10/));
  await assert.rejects(tryQuantization(damaged), told(/is NaN/));
  const below = join(file, "x.gguf");
  await assert.rejects(tryQuantization({ ...damaged, input: demo, output: below }), told(/is a file, not a folder/));
  const own = { ...damaged, input: demo, output: at("damaged") };
  await assert.rejects(tryQuantization(own), told(/which is not part of the output|which Bitloom did not write/));
  assert.deepEqual(stages, [], "no layer was begun");
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("x.gguf")),
    [],
  );
});
