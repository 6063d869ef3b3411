import assert from "node:assert/strict";
import { test } from "node:test";
import { createModule, type Expression } from "./emitter.js";
import { v128 } from "./instructions.js";
import { isE4m3, type SharedForm, SharedNumbers, sharedCode, sharedReader } from "./shared.js";

/** Four numbers through memory in a form. */
function throughMemory(form: SharedForm, values: readonly number[]): number[] {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const view = new DataView(memory.buffer);
  const code = sharedCode(form.kind);
  values.forEach((value, i) => {
    if (form.bytes === 4) view.setUint8(i, code(value));
    else if (form.bytes === 8) view.setUint16(2 * i, code(value), true);
    else view.setUint32(4 * i, code(value), true);
  });
  const m = createModule();
  m.func("read", { from: "i32", to: "i32" }, "void", (f, { from, to }) => {
    f.emit(v128.store(to, sharedReader(f, form)(from, 0) as Expression<"v128">));
  });
  const { read } = new WebAssembly.Instance(new WebAssembly.Module(m.bytes()), { env: { memory } }).exports;
  (read as (from: number, to: number) => void)(0, 64);
  return [...new Float32Array(memory.buffer, 64, 4)];
}

const cases: readonly { readonly kind: SharedForm["kind"]; readonly values: readonly number[] }[] = [
  { kind: "exponent", values: [1, 2 ** -126, 2 ** 127, 0.25] },
  { kind: "bf16", values: [-1, 0, 1.5 * 2 ** -100, 2 ** -133] },
  { kind: "bf16", values: [Infinity, 1, 2, 3] },
  { kind: "f16", values: [1 + 2 ** -10, 65504, 2 ** -14, 0.1 - 0.1 + 2 ** -3 + 2 ** -13] },
  { kind: "f16", values: [-1 - 2 ** -10, 1, -65504, 2 ** -14] },
  { kind: "f16", values: [1 + 2 ** -10, 0, -0, 2 ** -24] },
  { kind: "f16", values: [1 + 2 ** -10, -(2 ** -24), 1023 * 2 ** -24, 3] },
  { kind: "f32", values: [Math.fround(0.1), 1, -2, 0] },
  { kind: "f32", values: [1 + 2 ** -10, 65536, 1, 1] },
  { kind: "f32", values: [1 + 2 ** -10, 2 ** -25, 1, 1] },
];

test("numbers that blocks share are held in the fewest bytes that give every one of them back, bit for bit", () => {
  for (const { kind, values } of cases) {
    const numbers = new SharedNumbers();
    for (const value of values) numbers.add(value);
    const form = numbers.form();
    assert.equal(form.kind, kind, values.join(" "));
    assert.deepEqual(throughMemory(form, values), values);
  }
});

test("all of e4m3 from 0 up, times a factor of the tensor, comes back as the product rounded once", () => {
  const factor = Math.fround(0.0123);
  const all = Array.from({ length: 128 }, (_, code) => {
    const [exponent, significand] = [code >> 3, code & 7];
    return exponent === 0 ? significand * 2 ** -9 : (8 + significand) * 2 ** (exponent - 10);
  });
  for (let i = 0; i < all.length; i += 4) {
    const four = all.slice(i, i + 4);
    assert.ok(four.every(isE4m3));
    assert.deepEqual(
      throughMemory({ kind: "e4m3", bytes: 4, factor }, four),
      four.map((v) => Math.fround(v * factor)),
    );
  }
  assert.ok(![-1, 512, 17 / 16, 2 ** -10, Number.NaN].some(isE4m3));
});
