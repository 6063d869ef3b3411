import assert from "node:assert/strict";
import { test } from "node:test";
import type { Backend } from "../kernels/backend.js";
import { openReplay } from "./replay.js";

/** A backend that can record while `works`, and whose recordings hold while `holds`. */
function recorder(state: { works: boolean; holds: boolean; tried: number; ran: number; held: number }): Backend {
  return {
    record(_: number, work: () => void) {
      state.tried++;
      work();
      if (!state.works) return undefined;
      state.held++;
      return {
        run: () => {
          if (state.holds) state.ran++;
          return state.holds;
        },
        dispose: () => state.held--,
      };
    },
  } as unknown as Backend;
}

test("work is recorded once, repeated while the recording holds, and recorded anew when it does not", () => {
  const state = { works: true, holds: true, tried: 0, ran: 0, held: 0 };
  const replay = openReplay(recorder(state));
  let called = 0;
  const step = (position: number) => replay.run(position, () => called++);
  for (let position = 0; position < 5; position++) step(position);
  assert.deepEqual([called, state.tried, state.ran], [1, 1, 4]);
  state.holds = false;
  step(5);
  assert.deepEqual([called, state.tried, state.held], [2, 2, 1]);
  replay.dispose();
  assert.equal(state.held, 0);
});

test("work that cannot be recorded is called every time, and recording is given up after three attempts", () => {
  const state = { works: false, holds: true, tried: 0, ran: 0, held: 0 };
  const replay = openReplay(recorder(state));
  let called = 0;
  for (let position = 0; position < 9; position++) replay.run(position, () => called++);
  assert.deepEqual([called, state.tried], [9, 3]);
  const plain = openReplay({} as Backend);
  plain.run(0, () => called++);
  assert.equal(called, 10);
});
