import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FileError, InputError } from "../errors.js";
import { parseImatrixDat } from "./imatrix-dat.js";
import { collectImportance, quantizeModel, readImatrix, writeImatrix } from "./index.js";

const demo = new URL("../../../demo", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "bitloom-imatrix-"));
const at = (name: string) => join(folder, name);
after(() => rmSync(folder, { recursive: true }));
const text = readFileSync(join(demo, "calibration.txt"), "utf8").slice(0, 4096);
const importance = await collectImportance({ input: demo, text, calibration: { windows: 2, window: 64 } });
await writeImatrix(at("demo.imatrix.gguf"), importance, "calibration.txt", 64);

test("an importance matrix comes back from its file within f32 rounding of the sums", async () => {
  const back = await readImatrix(at("demo.imatrix.gguf"));
  assert.deepEqual([...back.keys()], [...importance.keys()]);
  for (const [name, { tokens, meanSquare }] of importance) {
    assert.equal(tokens, 128, name);
    const other = back.get(name)?.meanSquare ?? [];
    for (const [j, x] of meanSquare.entries()) assert.ok(Math.abs(other[j] - x) <= 2 ** -23 * x, `${name} ${j}`);
  }
});

test("the older form comes back too, and damage of any byte count is a FileError", async () => {
  await writeImatrix(at("demo.dat"), importance, "calibration.txt", 64);
  const bytes = readFileSync(at("demo.dat"));
  const back = await readImatrix(at("demo.dat"));
  assert.deepEqual([...back.keys()], [...importance.keys()]);
  for (const [name, { meanSquare }] of importance) {
    const other = back.get(name)?.meanSquare ?? [];
    for (const [j, x] of meanSquare.entries()) assert.ok(Math.abs(other[j] - x) <= 2 ** -23 * x, `${name} ${j}`);
  }
  // The trailer, chunks and the text's name, may be missing; nothing else may.
  const whole = bytes.length - 4 - 4 - "calibration.txt".length;
  assert.equal(parseImatrixDat(bytes.subarray(0, whole), "x").size, importance.size);
  for (const length of [0, 3, 4, 11, 1000, whole - 1]) {
    assert.throws(() => parseImatrixDat(bytes.subarray(0, length), "x"), FileError, `${length}`);
  }
  writeFileSync(at("text.dat"), "this is no importance matrix but a text");
  await assert.rejects(readImatrix(at("text.dat")), FileError);
  await assert.rejects(readImatrix(at("missing.dat")), FileError);
});

test("query, key and value share an input, and every matrix of the demo model has one", () => {
  const of = (name: string) => importance.get(`blk.0.${name}.weight`)?.meanSquare;
  assert.deepEqual(of("attn_q"), of("attn_v"));
  assert.notDeepEqual(of("attn_q"), of("ffn_up"));
  // Seven matrices in each of five layers, and the embedding, which is the head.
  assert.equal(importance.size, 5 * 7 + 1);
});

test("the method imatrix takes a file in place of a text, and gives the same codes twice", async () => {
  const options = { input: demo, scheme: "q4_0", method: "imatrix", methodOptions: { steps: 3 } };
  const imatrix = at("demo.imatrix.gguf");
  const { tensors } = await quantizeModel({ ...options, output: at("one.gguf"), imatrix });
  await quantizeModel({ ...options, output: at("two.gguf"), imatrix });
  assert.deepEqual(readFileSync(at("one.gguf")), readFileSync(at("two.gguf")));
  assert.ok(tensors.every(({ notes }) => notes?.withoutImportance === undefined));
  const rtn = await quantizeModel({ ...options, method: "rtn", methodOptions: {}, output: at("rtn.gguf") });
  assert.notDeepEqual(rtn.tensors, tensors);
});

test("a file that is no importance matrix, or does not say enough, is refused before work", async () => {
  await assert.rejects(readImatrix(at("rtn.gguf")), FileError);
  const options = { input: demo, output: at("no.gguf"), scheme: "q4_0", method: "gptq" };
  await assert.rejects(quantizeModel({ ...options, imatrix: at("demo.imatrix.gguf") }), InputError);
});
