/**
 * How threads work through a list of operations together (SPMD): a whole forward pass is one call into WebAssembly for each
 * thread. The list, which tape.ts writes, is a run of 32-bit words; for each operation: place of its kernel in the table of
 * functions, flags, items, bytes of the entry, the kernel's record of arguments; at the end -1 for the place.
 *
 * Operations up to the next one that must wait for them are a stage. A stage has as many shares as there are threads: share
 * s is the s-th part of the items of each of its operations. The calling thread opens a stage by writing the ticket,
 *
 *     ticket (64 bits)  address of the stage, number of the list (16 bits), the next share (16 bits)
 *
 * and every thread, the calling one too, claims shares by raising the ticket with a compare-and-exchange. So a thread that
 * the machine does not let run is not waited for: its share is taken by another. The next stage is opened when all shares
 * are completed. Shares are fixed parts of disjoint outputs, so neither the number of threads nor who takes what changes a bit.
 */
import { call, callIndirect, createModule, type Expression, type MemoryLimits } from "./emitter.js";
import { drop, i32, i64, memory, select } from "./instructions.js";

/** Addresses, in bytes, of what threads share. */
export const control = {
  ticket: 64,
  /** Counts stages: what sleeping helpers watch. */
  call: 72,
  completed: 128,
  /** Helpers asleep, and whether the calling thread is. */
  sleepers: 192,
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

/** Stands at the end of a list, where the next operation's kernel would. */
export const endMark = -1;

/** The numbers that lists have, one after the other. */
export const listNumbers = 1 << 16;

/** Rounds of spinning before a thread sleeps: some hundred microseconds. */
const spins = 1 << 17;

export interface ControlExports {
  /** Runs the list with that number; 1 if a helper failed. A thread that may not sleep (a page's own) only spins. */
  run(list: number, number: number, threads: number, maySleep: number): number;
  /** Returns the number of a list in hand, once there is one that is not `seen`. */
  idle(seen: number): number;
  /** Takes shares of that list while it is in hand. */
  help(number: number, thread: number, threads: number): void;
}

const stageOf = (ticket: Expression<"i64">) => i32.wrap_i64(i64.shr_u(ticket, i64.const(32)));
const listOf = (ticket: Expression<"i64">) => i32.and(i32.shr_u(i32.wrap_i64(ticket), 16), 0xffff);
const shareOf = (ticket: Expression<"i64">) => i32.and(i32.wrap_i64(ticket), 0xffff);

export function controlModule(limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);
  const kernel = m.indirect({ record: "i32", from: "i32", to: "i32", thread: "i32" }, "void");

  /** Computes a share of the stage at `at`; the address of what follows the stage. */
  const compute = m.func(
    "$compute",
    { at: "i32", share: "i32", thread: "i32", threads: "i32" },
    "i32",
    (f, { at, share, thread, threads }) => {
      const [place, kinds, items, from, to] = f.locals("i32", 5);
      f.loop((next) => {
        f.set(place, i32.load(at));
        f.set(kinds, i32.load(at, 4));
        f.set(items, i32.load(at, 8));
        f.if(
          i32.and(kinds, flags.shared),
          () => {
            f.set(from, i32.div_u(i32.mul(items, share), threads));
            f.set(to, i32.div_u(i32.mul(items, i32.add(share, 1)), threads));
          },
          () => {
            f.set(from, 0);
            f.set(to, select(items, i32.const(0), i32.eqz(share)));
          },
        );
        f.if(i32.lt_u(from, to), () =>
          f.emit(callIndirect(kernel, place, { record: i32.add(at, entryHead), from, to, thread })),
        );
        f.set(at, i32.add(at, i32.load(at, 12)));
        f.if(i32.lt_s(i32.load(at), 0), () => f.return(at));
        f.branchIf(next, i32.eqz(i32.and(i32.load(at, 4), flags.barrier)));
      });
      return at;
    },
  );

  /** Claims the share that `ticket` offers; whether nobody was faster. */
  const claim = m.func("$claim", { ticket: "i64" }, "i32", (_, { ticket }) => {
    const raised = i64.add(ticket, i64.const(1));
    return i64.eq(i64.atomic_rmw_cmpxchg(control.ticket, ticket, raised), ticket);
  });

  m.func(
    "run",
    { list: "i32", number: "i32", threads: "i32", maySleep: "i32" },
    "i32",
    (f, { list, number, threads, maySleep }) => {
      const [next, left, done] = f.locals("i32", 3);
      const ticket = f.local("i64");
      const finished = (then: () => void) => {
        f.set(done, i32.atomic_load(control.completed));
        f.if(i32.eq(done, threads), then);
      };
      f.loop((stage) => {
        f.emit(i32.atomic_store(control.completed, 0));
        const low = i64.extend_i32_u(i32.shl(number, 16));
        f.emit(i64.atomic_store(control.ticket, i64.or(i64.shl(i64.extend_i32_u(list), i64.const(32)), low)));
        f.emit(drop(i32.atomic_rmw_add(control.call, 1)));
        f.if(i32.atomic_load(control.sleepers), () => f.emit(drop(memory.atomic_notify(control.call, -1))));
        f.block((none) =>
          f.loop((again) => {
            f.set(ticket, i64.atomic_load(control.ticket));
            f.branchIf(none, i32.ge_u(shareOf(ticket), threads));
            f.branchIf(again, i32.eqz(call(claim, { ticket })));
            f.set(next, call(compute, { at: list, share: shareOf(ticket), thread: i32.const(0), threads }));
            f.emit(drop(i32.atomic_rmw_add(control.completed, 1)));
            f.branch(again);
          }),
        );
        // If helpers took every share, where the stage ends is still to be found: a share beyond the last has no items.
        f.if(i32.eqz(next), () =>
          f.set(
            next,
            call(compute, { at: list, share: threads, thread: i32.const(0), threads: i32.const(0x7fffffff) }),
          ),
        );
        f.block((complete) =>
          f.loop((again) => {
            f.repeat(left, spins, () => finished(() => f.branch(complete)));
            f.if(i32.atomic_load(control.failed), () => f.return(i32.const(1)));
            f.if(maySleep, () => {
              f.emit(i32.atomic_store(control.waiting, 1));
              f.emit(drop(memory.atomic_wait32(control.completed, done, i64.const(1_000_000_000))));
              f.emit(i32.atomic_store(control.waiting, 0));
            });
            f.branch(again);
          }),
        );
        f.set(list, next);
        f.set(next, 0);
        f.branchIf(stage, i32.ge_s(i32.load(list), 0));
      });
      f.emit(i64.atomic_store(control.ticket, i64.const(0)));
      return i32.const(0);
    },
  );

  /** Spins, then sleeps, until `ready`; a stage that was opened since the look at `call` ends the sleep at once. */
  const watch = m.func("$watch", { seen: "i64" }, "void", (f, { seen }) => {
    const [left, calls] = f.locals("i32", 2);
    f.repeat(left, spins, () => {
      f.if(i64.ne(i64.atomic_load(control.ticket), seen), () => f.return());
    });
    f.emit(drop(i32.atomic_rmw_add(control.sleepers, 1)));
    f.set(calls, i32.atomic_load(control.call));
    f.if(i64.eq(i64.atomic_load(control.ticket), seen), () =>
      f.emit(drop(memory.atomic_wait32(control.call, calls, i64.const(-1)))),
    );
    f.emit(drop(i32.atomic_rmw_sub(control.sleepers, 1)));
  });

  m.func("idle", { seen: "i32" }, "i32", (f, { seen }) => {
    const ticket = f.local("i64");
    f.loop((again) => {
      f.set(ticket, i64.atomic_load(control.ticket));
      f.if(i32.and(i32.ne(stageOf(ticket), 0), i32.ne(listOf(ticket), seen)), () => f.return(listOf(ticket)));
      f.emit(call(watch, { seen: ticket }));
      f.branch(again);
    });
    return i32.const(0);
  });

  m.func("help", { number: "i32", thread: "i32", threads: "i32" }, "void", (f, { number, thread, threads }) => {
    const ticket = f.local("i64");
    f.loop((again) => {
      f.set(ticket, i64.atomic_load(control.ticket));
      f.if(i32.eqz(stageOf(ticket)), () => f.return());
      f.if(i32.ne(listOf(ticket), number), () => f.return());
      f.if(
        i32.ge_u(shareOf(ticket), threads),
        () => f.emit(call(watch, { seen: ticket })),
        () =>
          f.if(call(claim, { ticket }), () => {
            f.emit(drop(call(compute, { at: stageOf(ticket), share: shareOf(ticket), thread, threads })));
            f.emit(drop(i32.atomic_rmw_add(control.completed, 1)));
            f.if(i32.atomic_load(control.waiting), () => f.emit(drop(memory.atomic_notify(control.completed, -1))));
          }),
      );
      f.branch(again);
    });
  });

  return m.bytes();
}
