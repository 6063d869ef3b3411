/**
 * Which quads a kernel for one row of activations walks at once. Each of its streams has a run of quads of its own, so
 * that memory is read in several places: one place alone leaves it idle from page to page, and many leave each with too
 * little for the hardware to read ahead. Three or four are best on the machines measured.
 */
import { byLookup } from "./byte-dot.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i32 } from "./instructions.js";
import type { Range } from "./kernel.js";
import type { Layout } from "./layout.js";

/** Quads computed at once: more hide latencies, fewer leave registers for decoding. */
export function streamsOf({ decode, dot, offset, fused }: Layout): number {
  // Groups of four quads: two keep all sums in registers, but beyond the caches four are a quarter faster for one bit.
  if (dot && byLookup(dot)) return dot.bits === 1 ? 4 : 2;
  // Groups of two or four quads that share bytes: eight sums stay in registers.
  if (dot && dot.together > 1) return dot.together === 2 ? 4 : 2;
  if (dot) return dot.arithmetic === "relaxed" ? 4 : 2;
  if (fused) return 6;
  if (decode.kind === "binary32") return 4;
  if (decode.kind === "bfloat") return 3;
  return offset === "none" ? 2 : 1;
}

/** A quad in hand, or a group of quads that share bytes: its number, where its weights begin, and where its outputs go. */
export interface QuadInHand {
  readonly quad: Local<"i32">;
  readonly address: Local<"i32">;
  readonly to: Local<"i32">;
}

/**
 * Up to three matrices on one input are multiplied as if they stood one below the other: `quads` counts those of all, and the
 * second and third begin with the quads `first1` and `first2`, which `noQuad` says are not there.
 */
export const groupFields = ["out1", "weights1", "first1", "out2", "weights2", "first2"] as const;
export const mostOfGroup = 3;
export const noQuad = 0x7fffffff;

type GroupArguments = Readonly<
  Record<"out" | "weights" | "quadBytes" | "quads" | "quadsPerItem" | (typeof groupFields)[number], Local<"i32">>
>;

/** overQuads, with the places of the quads in their matrices. Quads that share bytes count as one. */
export function overGroup(
  f: FunctionBuilder,
  layout: Layout,
  args: GroupArguments,
  range: Range,
  body: (quads: readonly QuadInHand[]) => void,
): void {
  const power = Math.log2(layout.dot?.together ?? 1);
  const { out, weights, quadBytes, first1, first2, quads, quadsPerItem } = power === 0 ? args : sharing(f, args, power);
  const outputs = 4 + power;
  const others = [
    { first: first1, out: args.out1, weights: args.weights1 },
    { first: first2, out: args.out2, weights: args.weights2 },
  ].map(({ first, out: base, weights: start }) => ({
    first,
    out: f.let(i32.sub(base, i32.shl(first, outputs))),
    weights: f.let(i32.sub(start, i32.mul(first, quadBytes))),
  }));
  const place = (quad: Local<"i32">): QuadInHand => {
    const offset = f.let(i32.mul(quad, quadBytes));
    const [address, to] = [f.let(i32.add(weights, offset)), f.let(i32.add(out, i32.shl(quad, outputs)))];
    for (const other of others) {
      f.if(i32.ge_u(quad, other.first), () => {
        f.set(address, i32.add(other.weights, offset));
        f.set(to, i32.add(other.out, i32.shl(quad, outputs)));
      });
    }
    return { quad, address, to };
  };
  overQuads(f, streamsOf(layout), { quads, quadsPerItem }, range, (together) => body(together.map(place)));
}

/** The arguments in groups of 2^power quads. */
function sharing(f: FunctionBuilder, args: GroupArguments, power: number): GroupArguments {
  const groups = (quads: Expression<"i32">) => f.let(i32.shr_u(quads, power));
  return {
    ...args,
    quads: groups(i32.add(args.quads, 2 ** power - 1)),
    quadsPerItem: groups(args.quadsPerItem),
    first1: groups(args.first1),
    first2: groups(args.first2),
    quadBytes: f.let(i32.shl(args.quadBytes, power)),
  };
}

/** Calls `body` with the quads to compute at once, for all quads of the items in `range`. */
export function overQuads(
  f: FunctionBuilder,
  streams: number,
  { quads, quadsPerItem }: { readonly quads: Local<"i32">; readonly quadsPerItem: Local<"i32"> },
  range: Range,
  body: (quads: readonly Local<"i32">[]) => void,
): void {
  const [quad, end, run, i] = f.locals("i32", 4);
  f.set(quad, i32.mul(range.from, quadsPerItem));
  f.set(end, i32.mul(range.to, quadsPerItem));
  f.if(i32.gt_u(end, quads), () => f.set(end, quads));
  f.if(i32.ge_u(quad, end), () => f.return());
  f.set(run, i32.div_u(i32.sub(end, quad), streams));
  f.for(i, 0, run, 1, () => {
    body(Array.from({ length: streams }, (_, s) => f.let(i32.add(quad, i32.add(i, i32.mul(run, s))))));
  });
  f.set(quad, i32.add(quad, i32.mul(run, streams)));
  f.for(i, quad, end, 1, () => body([i]));
}
