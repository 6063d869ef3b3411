import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { UnsupportedError } from "../../errors.js";
import { Heap } from "./heap.js";

const page = 65536;
const fresh = (maximumPages = 16) =>
  new Heap(new WebAssembly.Memory({ initial: 1, maximum: maximumPages }), 100, maximumPages);

test("blocks never overlap, are 64-byte aligned and keep 16 spare bytes, in any order of allocating and freeing", () => {
  const steps = fc.array(fc.record({ bytes: fc.nat(5000), drop: fc.nat(8) }), { maxLength: 60 });
  fc.assert(
    fc.property(steps, (list) => {
      const heap = fresh(64);
      const live: { start: number; bytes: number }[] = [];
      for (const { bytes, drop } of list) {
        const start = heap.allocate(bytes, "test");
        assert.equal(start % 64, 0);
        assert.ok(start + bytes + 16 <= heap.memory.buffer.byteLength);
        for (const other of live) {
          assert.ok(start + bytes + 16 <= other.start || other.start + other.bytes + 16 <= start);
        }
        live.push({ start, bytes });
        if (drop < live.length) assert.ok(heap.free(live.splice(drop, 1)[0].start));
      }
      for (const { start } of live) assert.ok(heap.free(start));
      assert.equal(heap.used, 0);
      const all = heap.memory.buffer.byteLength;
      heap.allocate(all - 1024, "everything again");
      assert.equal(heap.memory.buffer.byteLength, all, "freed blocks had become one");
    }),
    { numRuns: 100 },
  );
});

test("a freed block is used again, and freeing twice or freeing nothing is noticed", () => {
  const heap = fresh();
  const [a] = [heap.allocate(1000, "a"), heap.allocate(1000, "b")];
  assert.ok(heap.free(a));
  assert.equal(heap.allocate(900, "c"), a);
  assert.ok(!heap.free(a + 64));
  assert.ok(heap.free(a));
  assert.ok(!heap.free(a));
});

test("a request beyond the maximum is refused with the sizes and the purpose", () => {
  const heap = fresh(2);
  const refused = (error: unknown) =>
    error instanceof UnsupportedError && /weights/.test(error.message) && /131072/.test(error.details.why ?? "");
  assert.throws(() => heap.allocate(3 * page, "weights"), refused);
  assert.ok(heap.allocate(1000, "small") > 0, "what fits still fits");
});
