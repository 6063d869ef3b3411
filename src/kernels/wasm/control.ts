/**
 * How threads work through a list of operations together (SPMD): every thread runs the same list over its own share of
 * each operation's items, and waits at barriers where an operation needs what another one made. A whole forward pass is
 * so one call into WebAssembly for each thread. The list, which tape.ts writes, is a run of 32-bit words:
 *
 *     base, then for each operation: place of its kernel in the table of functions, flags, items, bytes of the entry,
 *     the kernel's record of arguments; at the end -1 for the place
 *
 * `base` is what the counter `arrived` stands at before the list; it only ever grows, by one for each thread at each
 * barrier, so nothing has to be reset. Shares are fixed (items * thread / threads) and items never share a sum, so no bit
 * depends on the number of threads.
 */
import { call, callIndirect, createModule, type Local, type MemoryLimits } from "./emitter.js";
import { drop, i32, i64, memory, select } from "./instructions.js";

/** Addresses, in bytes, of what threads share. */
export const control = {
  /** Number of the list in hand, and the place of its words. */
  call: 64,
  list: 68,
  arrived: 128,
  /** Threads asleep until the next list, and in a barrier. */
  idle: 192,
  waiting: 196,
  failed: 200,
  /** The first block of generated code (see Engine.module); each begins with the address of the next. */
  firstCode: 256,
  /** The arguments of a kernel that the calling thread runs alone. */
  record: 320,
  end: 1024,
} as const;

/** A block of generated code: address of the next block, length of the code, which memory of weights it reads, the code. */
export const codeBlock = { next: 0, length: 4, room: 8, code: 12 } as const;

export const flags = { barrier: 1, shared: 2 } as const;

/** Bytes of an entry before its arguments. */
export const entryHead = 16;

/** Rounds of spinning before a thread sleeps: about 300 microseconds without a list, 100 in a barrier. */
const idleSpins = 1 << 18;
const barrierSpins = 1 << 17;

export interface ControlExports {
  /** Opens the list at `list`; wakes sleepers. */
  publish(list: number): void;
  /** Returns the number of the list in hand once it is not `seen`. */
  idle(seen: number): number;
  /** Works through the list in hand; 1 if a thread failed. A thread that may not sleep (a page's own) only spins. */
  run(thread: number, threads: number, maySleep: number): number;
}

export function controlModule(limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);
  const kernel = m.indirect({ record: "i32", from: "i32", to: "i32", thread: "i32" }, "void");

  m.func("publish", { list: "i32" }, "void", (f, { list }) => {
    f.emit(i32.store(control.list, list));
    f.emit(i32.store(list, i32.atomic_load(control.arrived)));
    f.emit(drop(i32.atomic_rmw_add(control.call, 1)));
    f.if(i32.atomic_load(control.idle), () => f.emit(drop(memory.atomic_notify(control.call, -1))));
  });

  m.func("idle", { seen: "i32" }, "i32", (f, { seen }) => {
    const [left, now] = f.locals("i32", 2);
    f.repeat(left, idleSpins, () => {
      f.set(now, i32.atomic_load(control.call));
      f.if(i32.ne(now, seen), () => f.return(now));
    });
    f.emit(drop(i32.atomic_rmw_add(control.idle, 1)));
    // Returns at once if a list was published since the look above: `call` is no longer `seen` then.
    f.loop((again) => {
      f.emit(drop(memory.atomic_wait32(control.call, seen, i64.const(-1))));
      f.set(now, i32.atomic_load(control.call));
      f.branchIf(again, i32.eq(now, seen));
    });
    f.emit(drop(i32.atomic_rmw_sub(control.idle, 1)));
    return now;
  });

  /** Waits until `arrived` is `target`; 1 if a thread failed meanwhile. */
  const barrier = m.func("$barrier", { target: "i32", maySleep: "i32" }, "i32", (f, { target, maySleep }) => {
    const [now, left] = f.locals("i32", 2);
    const arrived = (then: () => void) => f.if(i32.ge_s(i32.sub(now, target), 0), then);
    f.set(now, i32.add(i32.atomic_rmw_add(control.arrived, 1), 1));
    arrived(() => {
      f.if(i32.atomic_load(control.waiting), () => f.emit(drop(memory.atomic_notify(control.arrived, -1))));
      f.return(i32.const(0));
    });
    f.loop((again) => {
      f.repeat(left, barrierSpins, () => {
        f.set(now, i32.atomic_load(control.arrived));
        arrived(() => f.return(i32.const(0)));
      });
      f.if(i32.atomic_load(control.failed), () => f.return(i32.const(1)));
      f.if(maySleep, () => {
        f.emit(drop(i32.atomic_rmw_add(control.waiting, 1)));
        // A second at most: then it looks again whether a thread has failed.
        f.emit(drop(memory.atomic_wait32(control.arrived, now, i64.const(1_000_000_000))));
        f.emit(drop(i32.atomic_rmw_sub(control.waiting, 1)));
      });
      f.branch(again);
    });
    return i32.const(0);
  });

  m.func("run", { thread: "i32", threads: "i32", maySleep: "i32" }, "i32", (f, { thread, threads, maySleep }) => {
    const [at, place, items, target, from, to] = f.locals("i32", 6);
    f.set(at, i32.load(control.list));
    f.set(target, i32.load(at));
    f.advance(at, 4);
    const meet = () => {
      f.set(target, i32.add(target, threads));
      f.if(callBarrier(target, maySleep), () => f.return(i32.const(1)));
    };
    const callBarrier = (goal: Local<"i32">, sleep: Local<"i32">) => call(barrier, { target: goal, maySleep: sleep });
    f.block((end) =>
      f.loop((next) => {
        f.set(place, i32.load(at));
        f.branchIf(end, i32.lt_s(place, 0));
        const kinds = f.let(i32.load(at, 4));
        f.set(items, i32.load(at, 8));
        f.if(i32.and(kinds, flags.barrier), meet);
        f.if(
          i32.and(kinds, flags.shared),
          () => {
            f.set(from, i32.div_u(i32.mul(items, thread), threads));
            f.set(to, i32.div_u(i32.mul(items, i32.add(thread, 1)), threads));
          },
          () => {
            f.set(from, 0);
            f.set(to, select(items, i32.const(0), i32.eqz(thread)));
          },
        );
        f.if(i32.lt_u(from, to), () =>
          f.emit(callIndirect(kernel, place, { record: i32.add(at, entryHead), from, to, thread })),
        );
        f.set(at, i32.add(at, i32.load(at, 12)));
        f.branch(next);
      }),
    );
    meet();
    return i32.const(0);
  });

  return m.bytes();
}
