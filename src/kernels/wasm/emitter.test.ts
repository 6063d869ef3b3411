import assert from "node:assert/strict";
import { test } from "node:test";
import { compile } from "watr";
import { call, constant, createModule, type Expression, signed, unsigned, type ValueType } from "./emitter.js";
import * as instructions from "./instructions.js";
import { f32, f32x4, i32, i32x4, i64, memory, type Signature, v128 } from "./instructions.js";

const instantiate = (bytes: Uint8Array<ArrayBuffer>, env = new WebAssembly.Memory({ initial: 1 })) =>
  new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: env } }).exports as Record<
    string,
    (...args: (number | bigint)[]) => number
  >;

const sample: Readonly<Record<ValueType, { expression: Expression; text: string }>> = {
  i32: { expression: constant("i32", 3), text: "(i32.const 3)" },
  i64: { expression: constant("i64", 3n), text: "(i64.const 3)" },
  f32: { expression: constant("f32", 3), text: "(f32.const 3)" },
  f64: { expression: constant("f64", 3), text: "(f64.const 3)" },
  v128: { expression: v128.const(new Uint8Array(16)), text: "(v128.const i32x4 0 0 0 0)" },
};

/** The same instruction built by us and written as text. */
function bothWays(prefix: string, name: string, make: (...args: never[]) => Expression, signature: Signature) {
  const lanes = Array.from({ length: 16 }, (_, i) => 31 - i);
  const operands = signature.operands.map((type) => sample[type].expression);
  const build = {
    none: () => operands,
    offset: () => [...operands, 200],
    lane: () => [operands[0], 1, ...operands.slice(1)],
    "offset lane": () => [...operands, 1, 200],
    lanes: () => [...operands, lanes],
  }[signature.immediate ?? "none"]();
  // Vector accesses declare alignment 1 in our code, scalar ones their natural alignment.
  const align = prefix === "v128" ? " align=1" : "";
  const written = {
    none: "",
    offset: ` offset=200${align}`,
    lane: " 1",
    "offset lane": ` offset=200${align} 1`,
    lanes: ` ${lanes.join(" ")}`,
  }[signature.immediate ?? "none"];
  const textName = name.startsWith("atomic_") ? name.replace("atomic_", "atomic.").replace("rmw_", "rmw.") : name;
  const text = `(${prefix}.${textName}${written} ${signature.operands.map((type) => sample[type].text).join(" ")})`;
  return { built: make(...(build as never[])), text };
}

test("every instruction has the bytes that watr, an independent assembler, gives it", () => {
  let count = 0;
  for (const [prefix, namespace] of Object.entries(instructions)) {
    if (typeof namespace !== "object") continue;
    for (const [name, make] of Object.entries(namespace)) {
      const signature = (make as { signature?: Signature }).signature;
      if (!signature) continue;
      const { built, text } = bothWays(prefix, name, make as (...args: never[]) => Expression, signature);
      const result = signature.result === "void" ? "" : `(result ${signature.result})`;
      const other = compile(`(module (import "env" "memory" (memory 0)) (func (export "f") ${result} ${text}))`);
      const m = createModule();
      m.func("f", {}, signature.result, (f) => {
        if (built.type !== "void") return built as Expression<"v128">;
        f.emit(built as Expression<"void">);
        return undefined as never;
      });
      assert.deepEqual([...m.bytes()], [...other], text);
      count++;
    }
  }
  assert.ok(count > 180, `${count} instructions compared`);
});

test("LEB128 numbers survive the round trip through an engine", () => {
  const values = [0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, 2 ** 31 - 1, -(2 ** 31)];
  for (const value of values) {
    const m = createModule();
    m.func("f", {}, "i32", () => i32.const(value));
    assert.equal(instantiate(m.bytes()).f(), value);
  }
  assert.deepEqual(unsigned(624485), [0xe5, 0x8e, 0x26]);
  assert.deepEqual(signed(-123456n), [0xc0, 0xbb, 0x78]);
});

test("loops, blocks, conditions and calls do what they say", () => {
  const m = createModule();
  const square = m.func("$square", { x: "i32" }, "i32", (_, { x }) => i32.mul(x, x));
  m.func("sumOfSquares", { below: "i32", skip: "i32" }, "i32", (f, { below, skip }) => {
    const [i, total] = f.locals("i32", 2);
    f.for(i, 0, below, 1, () =>
      f.block((end) => {
        f.branchIf(end, i32.eq(i, skip));
        f.set(total, i32.add(total, call(square, { x: i })));
      }),
    );
    return total;
  });
  m.func("sign", { x: "i32" }, "i32", (f, { x }) => {
    const out = f.local("i32");
    f.if(
      i32.lt_s(x, 0),
      () => f.set(out, -1),
      () => f.set(out, 1),
    );
    return out;
  });
  const { sumOfSquares, sign } = instantiate(m.bytes());
  assert.equal(sumOfSquares(5, 3), 0 + 1 + 4 + 16);
  assert.equal(sumOfSquares(0, 0), 0);
  assert.deepEqual([sign(-7), sign(7)], [-1, 1]);
  assert.equal(instantiate(m.bytes()).square, undefined);
});

test("vectors add and sums agree with the same loop written as text", () => {
  const m = createModule({ initialPages: 1 });
  m.func("add", { out: "i32", a: "i32", b: "i32", bytes: "i32" }, "void", (f, { out, a, b, bytes }) => {
    const i = f.local("i32");
    f.for(i, 0, bytes, 16, () =>
      f.emit(v128.store(i32.add(out, i), f32x4.add(v128.load(i32.add(a, i)), v128.load(i32.add(b, i))))),
    );
  });
  const env = new WebAssembly.Memory({ initial: 1 });
  const numbers = new Float32Array(env.buffer);
  numbers.set([1, 2, 3, 4, 5, 6, 7, 8], 16);
  numbers.set([10, 20, 30, 40, 50, 60, 70, 80], 32);
  instantiate(m.bytes(), env).add(0, 64, 128, 32);
  assert.deepEqual([...numbers.subarray(0, 8)], [11, 22, 33, 44, 55, 66, 77, 88]);
});

test("atomics and shared memory validate, and a shared counter counts", () => {
  const m = createModule({ initialPages: 1, maximumPages: 2, shared: true });
  m.func("next", { at: "i32" }, "i32", (_, { at }) => i32.atomic_rmw_add(at, 1));
  m.func("wide", { at: "i32" }, "i32", (_, { at }) =>
    i32.wrap_i64(i64.atomic_rmw_cmpxchg(at, i64.const(0n), i64.const(5n))),
  );
  m.func("wake", { at: "i32" }, "i32", (_, { at }) => memory.atomic_notify(at, 1));
  const env = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
  const { next, wide, wake } = instantiate(m.bytes(), env);
  assert.deepEqual([next(0), next(0), next(0)], [0, 1, 2]);
  assert.equal(wide(8), 0);
  assert.equal(new Int32Array(env.buffer)[2], 5);
  assert.equal(wake(0), 0);
});

test("a module of 3,000 instructions is built as bytes and accepted by the engine", () => {
  const m = createModule();
  m.func("many", { x: "f32" }, "f32", (f, { x }) => {
    for (let i = 0; i < 1000; i++) f.set(x, f32.add(x, 1));
    const lanes = f.let(i32x4.splat(1));
    f.set(lanes, i32x4.add(lanes, lanes));
    return x;
  });
  assert.equal(instantiate(m.bytes()).many(0), 1000);
});
