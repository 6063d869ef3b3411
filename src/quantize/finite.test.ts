import assert from "node:assert/strict";
import { test } from "node:test";
import { schemes } from "../formats/index.js";
import { dequantize, quantize } from "../tensor/index.js";
import { firstNonFinite } from "./finite.js";

const values = Float32Array.from({ length: 4 * 512 }, (_, i) => Math.sin(i) * (i % 5));

test("a tensor of any scheme that holds finite numbers is found to, and the first other one is found where it stands", () => {
  for (const scheme of schemes.entries) {
    const packed = quantize(values, [4, 512], scheme);
    assert.equal(firstNonFinite(packed), undefined, scheme.name);
    for (const name of ["scales", "superScales"] as const) {
      const plane = packed.planes[name];
      if (!plane) continue;
      const damaged = {
        ...packed,
        planes: { ...packed.planes, [name]: plane.map((byte, i) => (i < plane.length / 2 ? 0xff : byte)) },
      };
      const wanted = dequantize(damaged).findIndex((x) => !Number.isFinite(x));
      assert.equal(firstNonFinite(damaged)?.index ?? -1, wanted, `${scheme.name}, ${name}`);
    }
  }
});

test("a number that is not finite is found among plain ones", () => {
  const some = values.slice();
  some[700] = Number.NaN;
  some[701] = Number.POSITIVE_INFINITY;
  const packed = { scheme: schemes.get("f32"), shape: [4, 512], planes: { codes: new Uint8Array(some.buffer) } };
  assert.deepEqual(firstNonFinite(packed), { value: Number.NaN, index: 700 });
});
