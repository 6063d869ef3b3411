import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../errors.js";
import { registry } from "../registry.js";
import { decimal, integer, named, names, readSetting, repeated } from "./option.js";

const refusal = (why: string) => (error: unknown) => error instanceof InputError && error.details.why === why;

test("an integer out of its range is refused with what was got and what was wanted", () => {
  const option = integer("-n, --tokens <n>", "", { min: 1, max: 9 });
  assert.equal(option.parse?.("9"), 9);
  for (const got of ["0", "10", "1.5", "", " ", "abc", "NaN", "Infinity"]) {
    assert.throws(() => option.parse?.(got), refusal(`got "${got}", wanted an integer from 1 to 9`));
  }
});

test("a number without an upper end says so", () => {
  const option = decimal("--temperature <t>", "", { min: 0 });
  assert.equal(option.parse?.("0.7"), 0.7);
  assert.throws(() => option.parse?.("-1"), refusal('got "-1", wanted a number of at least 0'));
});

const colours = registry("colour", [{ name: "red" }, { name: "green", aliases: ["verde"] }]);

test("a name is looked up in its registry and stands for the entry's own name", () => {
  assert.equal(named("--to <colour>", "", colours).parse?.("verde"), "green");
  assert.equal(named("--to <colour>", "", colours).parse?.("RED"), "red");
  assert.throws(() => named("--to <colour>", "", colours).parse?.("gren"), /unknown colour "gren"/);
  assert.deepEqual(names("--to <colours>", "", colours, []).parse?.("red, verde"), ["red", "green"]);
});

test("a setting is cut at its first equals sign", () => {
  assert.deepEqual(readSetting("a=b=c"), ["a", "b=c"]);
  assert.throws(() => readSetting("=b"), InputError);
});

test("a repeated option collects its values in order", () => {
  const option = repeated("--set <n>", "", Number);
  assert.deepEqual(option.parse?.("2", option.parse?.("1")), [1, 2]);
});
