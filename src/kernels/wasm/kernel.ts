/**
 * Kernels share one calling convention, so that any thread can run any part of any kernel: the arguments lie in memory
 * as a record of 32-bit words, and `kernel(record, from, to, thread)` computes work items from .. to - 1. Items write
 * to different places and never share a sum, so how they are dealt out to threads changes no bit.
 */
import type { FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { i32 } from "./instructions.js";

export type Fields<F extends string> = Readonly<Record<F, Local<"i32">>>;

export interface Range {
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;
  /** 0 for the calling thread; selects scratch memory. */
  readonly thread: Local<"i32">;
}

/** What the calling side must know of a kernel: its export's name and the order of its record. */
export interface KernelSignature<F extends string = string> {
  readonly name: string;
  readonly fields: readonly F[];
  /**
   * Fields that are addresses of what it reads (weights apart, which nobody writes) and of what it writes. Without them
   * threads meet before and after it.
   */
  readonly reads?: readonly F[];
  readonly writes?: readonly F[];
  /** Fields that grow by one with every position: what changes where a recorded list (recording.ts) is run again. */
  readonly moves?: readonly F[];
}

/** A kernel's fields: addresses that it writes, addresses that it reads, and numbers, of which some move with the position. */
export function signature<W extends string, R extends string, N extends string>(
  name: string,
  writes: readonly W[],
  reads: readonly R[],
  numbers: readonly N[],
  moves: readonly N[] = [],
): KernelSignature<W | R | N> {
  return { name, fields: [...writes, ...reads, ...numbers], writes, reads, moves };
}

/** Adds a kernel to a module; its fields are loaded into locals at the start. */
export function defineKernel<F extends string>(
  m: ModuleBuilder,
  { name, fields }: KernelSignature<F>,
  body: (f: FunctionBuilder, args: Fields<F>, range: Range) => void,
): void {
  const parameters = { record: "i32", from: "i32", to: "i32", thread: "i32" } as const;
  m.func(name, parameters, "void", (f, { record, from, to, thread }) => {
    const args = Object.fromEntries(
      fields.map((field, i) => {
        const local = f.let(i32.load(record, 4 * i));
        if (m.memory.weights && (field.startsWith("weights") || field === "table")) local.space = 1;
        return [field, local];
      }),
    );
    body(f, args as Fields<F>, { from, to, thread });
  });
}

const bits = new DataView(new ArrayBuffer(4));

/** A float argument travels as its bits. */
export function floatBits(value: number): number {
  bits.setFloat32(0, value);
  return bits.getInt32(0);
}
