import assert from "node:assert/strict";
import { test } from "node:test";
import { commands } from "./index.js";
import { commandsFor } from "./lazy.js";

test("a command line that names a command loads that one or all, and it is the registered one", async () => {
  for (const command of commands.entries) {
    const found = await commandsFor([command.name, "x"]);
    assert.ok(found.includes(command) && [1, commands.entries.length].includes(found.length), command.name);
  }
  assert.deepEqual(
    (await commandsFor(["run"])).map(({ name }) => name),
    ["run"],
  );
});

test("everything else, a prototype's property too, means all commands", async () => {
  for (const argv of [[], ["--help"], ["help", "run"], ["nope"], ["toString"], ["--json", "doctor"]]) {
    assert.equal((await commandsFor(argv)).length, commands.entries.length, argv.join(" "));
  }
});
