import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { schemes } from "../../formats/index.js";
import { allocatePlanes, quantize } from "../../tensor/index.js";
import { tensorTypeOfScheme } from "./types.js";

const here = new URL("../../../../src/checkpoints/golden/k-quants.json", import.meta.url);
const golden = JSON.parse(readFileSync(here, "utf8"));
const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));
const source = new Float32Array(bytes(golden.source).buffer);

/** The source in this scheme, as GGUF's blocks. */
function blocksOf(name: string): { got: Uint8Array; wanted: Uint8Array; blockBytes: number } {
  const type = tensorTypeOfScheme(name);
  assert.ok(type?.layout);
  const blocks = source.length / type.blockElements;
  const got = new Uint8Array(blocks * type.blockBytes);
  type.layout.pack(quantize(source, [1, source.length], schemes.get(name)).planes, blocks, got);
  return { got, wanted: bytes(golden.blocks[name]), blockBytes: type.blockBytes };
}

test("K-quants, IQ4 and ternary blocks have the bytes of ggml's own quantizer", () => {
  for (const name of Object.keys(golden.blocks)) {
    const { got, wanted, blockBytes } = blocksOf(name);
    const different = new Set<number>();
    for (let i = 0; i < wanted.length; i++) if (got[i] !== wanted[i]) different.add(Math.floor(i / blockBytes));
    assert.deepEqual([...different], [], `${name}: blocks that differ`);
  }
});

test("ggml's own blocks return unchanged through the planes", () => {
  for (const name of Object.keys(golden.blocks)) {
    const type = tensorTypeOfScheme(name);
    assert.ok(type?.layout);
    const wanted = bytes(golden.blocks[name]);
    const planes = allocatePlanes(schemes.get(name), 1, source.length);
    const again = new Uint8Array(wanted.length).fill(0xaa);
    type.layout.unpack(wanted, source.length / type.blockElements, planes);
    type.layout.pack(planes, source.length / type.blockElements, again);
    assert.deepEqual(again, wanted, name);
  }
});
