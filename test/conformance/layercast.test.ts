/**
 * The promise of deterministic f32 (LayerCast): whatever scheme weights are stored in, all arithmetic is done in f32 in a
 * fixed order, so logits are the same to the last bit, and greedy text with them, for every batch from 1 to 16 rows, for
 * a prompt read whole or in chunks, for one thread or several, on every engine and backend.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoints/index.js";
import { scheme } from "../../src/formats/index.js";
import { createBackend } from "../../src/kernels/index.js";
import { argmax, loadDecoder } from "../../src/models/index.js";
import { dequantize, quantize } from "../../src/tensor/index.js";

/** SHA-256 of the logits, little-endian f32, as Node 20 and 24 on x86-64 have computed them. */
const digests: Readonly<Record<string, string>> = {
  bf16: "b1a61af1176b7d6fab64acb02fa193a1303c321700613d74c7a3078a3be3993d",
  "int4-g16": "6337244d22e46add478793b98bbbf0098143e072876760dedf637c9358e385b2",
  "int3-g16": "5877b1d49657cf199668ab8ad6a098e8e02136ac47a4fb4daa85c5c50f984484",
  mxfp8: "aaa469d928bf9ff727fdf1223cf2473d0e5aa093d4fb2918ea9c832bf292c42c",
};

const path = new URL("../../../src/models/golden/llama-tied", import.meta.url).pathname;
const prompt = Array.from({ length: 37 }, (_, i) => 1 + ((i * 13) % 60));

/** The checkpoint with its matrices in another scheme. */
const held = (checkpoint: Checkpoint, name: string): Checkpoint => ({
  ...checkpoint,
  async read(tensor) {
    const weight = await checkpoint.read(tensor);
    return weight.shape.length === 2 ? quantize(dequantize(weight), weight.shape, scheme(name)) : weight;
  },
});

/** The logits after the prompt, read in chunks, and after eight greedy tokens more. */
async function logits(name: string, backendName: string, threads: number, chunks: readonly number[]) {
  const backend = await createBackend(backendName, { threads });
  const checkpoint = await openCheckpoint(path);
  try {
    const decoder = await loadDecoder(held(checkpoint, name), { backend });
    return chunks.map((batch) => {
      const session = decoder.session({ context: 64, batch });
      let row = session.prefill(prompt);
      const parts = [row.slice()];
      for (let made = 0; made < 8; made++) {
        row = session.forward([argmax(row)], "last");
        parts.push(row.slice());
      }
      session.dispose();
      return Buffer.concat(parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)));
    });
  } finally {
    await checkpoint.close();
    await backend.dispose();
  }
}

for (const name of ["bf16", "int4-g16", "int3-g16", "mxfp8"]) {
  test(`${name}: the same logits to the last bit for batches of 1 to 16, whole prompts, 1 to 3 threads, every backend`, async () => {
    const [wanted] = await logits(name, "reference", 1, [64]);
    const chunks = [...Array.from({ length: 16 }, (_, i) => i + 1), 64];
    for (const threads of [1, 2, 3]) {
      for (const [i, got] of (await logits(name, "wasm", threads, threads === 3 ? [5] : chunks)).entries()) {
        assert.ok(got.equals(wanted), `${threads} thread(s), chunks of ${chunks[i]}`);
      }
    }
    assert.equal(createHash("sha256").update(wanted).digest("hex"), digests[name], "and on every engine");
  });
}
