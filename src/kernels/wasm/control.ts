/**
 * How threads share the work items of one kernel call. All of it happens in a few words of shared memory:
 *
 *     ticket (64 bits)  low half: items not yet claimed, high half: number of the call
 *     completed         items done
 *
 * A call is published by writing the ticket; every thread, the caller too, claims items by lowering the low half with a
 * compare-and-exchange until none is left. The call's description is only read after a successful claim, and only
 * rewritten after all claimed items are completed, so it can never be seen half written. Idle threads spin for a while,
 * then sleep on the high half.
 */
import { createModule, type MemoryLimits } from "./emitter.js";
import { drop, i32, i64, memory } from "./instructions.js";

/** Addresses, in bytes, of what threads share; the record of a call's arguments begins at `record`. */
export const control = {
  ticket: 64,
  call: 68,
  completed: 128,
  sleepers: 192,
  failed: 196,
  /** Which code: an identity, and where its bytes lie. */
  module: 256,
  codeAddress: 260,
  codeBytes: 264,
  /** Index of the kernel among the module's exports. */
  kernel: 268,
  record: 320,
  end: 1024,
} as const;

/** Rounds of spinning before an idle thread sleeps: some 100 microseconds. */
const spins = 1 << 16;

export interface ControlExports {
  /** Opens `items` for claiming and wakes sleepers. */
  publish(items: number): void;
  /** An item, or -1 if there is none. */
  claim(): number;
  complete(): void;
  /** Returns when `items` are completed. */
  join(items: number): void;
  /** Returns when there may be something to claim. */
  idle(): void;
}

export function controlModule(limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);

  m.func("publish", { items: "i32" }, "void", (f, { items }) => {
    const call = f.let(i32.add(i32.atomic_load(control.call), 1));
    f.emit(i32.atomic_store(control.completed, 0));
    const ticket = i64.or(i64.shl(i64.extend_i32_u(call), i64.const(32)), i64.extend_i32_u(items));
    f.emit(i64.atomic_store(control.ticket, ticket));
    f.if(i32.atomic_load(control.sleepers), () => f.emit(drop(memory.atomic_notify(control.call, -1))));
  });

  m.func("claim", {}, "i32", (f) => {
    const ticket = f.local("i64");
    const left = f.local("i32");
    f.loop((again) => {
      f.set(ticket, i64.atomic_load(control.ticket));
      f.set(left, i32.wrap_i64(ticket));
      f.if(i32.eqz(left), () => f.return(i32.const(-1)));
      const old = i64.atomic_rmw_cmpxchg(control.ticket, ticket, i64.sub(ticket, i64.const(1)));
      f.branchIf(again, i64.ne(old, ticket));
    });
    return i32.sub(left, 1);
  });

  m.func("complete", {}, "void", (f) => f.emit(drop(i32.atomic_rmw_add(control.completed, 1))));

  m.func("join", { items: "i32" }, "void", (f, { items }) => {
    f.loop((again) => f.branchIf(again, i32.ne(i32.atomic_load(control.completed), items)));
  });

  m.func("idle", {}, "void", (f) => {
    const [seen, left] = f.locals("i32", 2);
    f.set(seen, i32.atomic_load(control.call));
    f.repeat(left, spins, () => {
      f.if(i32.atomic_load(control.ticket), () => f.return());
    });
    f.emit(drop(i32.atomic_rmw_add(control.sleepers, 1)));
    // Between the look above and the sleep a call may have been published: then its number is no longer `seen`.
    f.if(i32.eqz(i32.atomic_load(control.ticket)), () =>
      f.emit(drop(memory.atomic_wait32(control.call, seen, i64.const(-1)))),
    );
    f.emit(drop(i32.atomic_rmw_sub(control.sleepers, 1)));
  });

  return m.bytes();
}
