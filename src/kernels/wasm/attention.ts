/**
 * Grouped-query attention over an f32 cache. One item is one head of one query row: scores of four positions at
 * a time, exponentials and their sum, then the weighted sum of values, each in the order of the reference.
 */
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32, f32x4, i8x16, i32, v128 } from "./instructions.js";
import { defineKernel, type KernelSignature } from "./kernel.js";
import { expLanes, largestLane, mapAndSumLanes, overLanes, storeLanes, totalOf, zeroVector } from "./lanes.js";

/**
 * Row b sees seen + b * seenStep positions: causal with position + 1 and 1, all of them with position + batch and 0.
 * scratch: room for one score for each position, for each thread.
 */
export const attention: KernelSignature<
  | ("out" | "q" | "keys" | "values" | "seen" | "seenStep" | "heads" | "kvHeads" | "headSize")
  | ("scale" | "scratch" | "scratchBytes")
> = {
  name: "attention",
  fields: [
    ...(["out", "q", "keys", "values", "seen", "seenStep", "heads", "kvHeads", "headSize"] as const),
    ...(["scale", "scratch", "scratchBytes"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["q", "keys", "values"],
  moves: ["seen"],
};

export function defineAttention(m: ModuleBuilder): void {
  defineKernel(m, attention, (f, args, { from, to, thread }) => {
    const { out, q, keys, values, seen, seenStep, heads, kvHeads, headSize, scale, scratch, scratchBytes } = args;
    const item = f.local("i32");
    const exp = expLanes(f);
    const scores = f.let(i32.add(scratch, i32.mul(thread, scratchBytes)));
    const rowBytes = f.let(i32.shl(i32.mul(kvHeads, headSize), 2));
    const headsPerGroup = f.let(i32.div_u(heads, kvHeads));
    const factor = f.let(f32x4.splat(f32.reinterpret_i32(scale)));
    f.for(item, from, to, 1, () => {
      const row = f.let(i32.div_u(item, heads));
      const head = f.let(i32.sub(item, i32.mul(row, heads)));
      const count = f.let(i32.add(seen, i32.mul(row, seenStep)));
      const place = f.let(i32.shl(i32.mul(item, headSize), 2));
      const inCache = f.let(i32.shl(i32.mul(i32.div_u(head, headsPerGroup), headSize), 2));
      const query = f.let(i32.add(q, place));
      const max = emitScores(f, {
        query,
        headSize,
        count,
        rowBytes,
        scores,
        factor,
        keys: f.let(i32.add(keys, inCache)),
      });
      const at = (offset: Expression<"i32">) => v128.load(i32.add(scores, offset));
      const sums = mapAndSumLanes(f, scores, count, (offset) => exp(f32x4.sub(at(offset), max)));
      const total = f.let(f32x4.splat(totalOf(sums)));
      const target = f.let(i32.add(out, place));
      emitMix(f, { target, headSize, count, rowBytes, scores, total, values: f.let(i32.add(values, inCache)) });
    });
  });
}

interface Scores {
  readonly query: Local<"i32">;
  readonly keys: Local<"i32">;
  readonly headSize: Local<"i32">;
  readonly count: Local<"i32">;
  readonly rowBytes: Local<"i32">;
  readonly scores: Local<"i32">;
  readonly factor: Local<"v128">;
}

/** scores[t] = (q . keys[t]) * scale for t < count; the largest, as a splat. */
function emitScores(f: FunctionBuilder, args: Scores): Local<"v128"> {
  const { keys, count, rowBytes, scores } = args;
  const [t, fours] = f.locals("i32", 2);
  const key = f.let(keys);
  const max = f.let(f32x4.splat(-Infinity));
  const four = f.local("v128");
  f.set(fours, i32.and(count, -4));
  f.for(t, 0, fours, 4, () => {
    const dots = dotProducts(f, args, key, 4);
    f.set(four, f32x4.mul(fourTotals(f, dots), args.factor));
    f.set(max, f32x4.pmax(max, four));
    f.emit(v128.store(i32.add(scores, i32.shl(t, 2)), four));
    f.advance(key, i32.shl(rowBytes, 2));
  });
  f.for(t, fours, count, 1, () => {
    const [dot] = dotProducts(f, args, key, 1);
    const score = f.let(f32.mul(totalOf(dot), f32x4.extract_lane(args.factor, 0)));
    f.emit(f32.store(i32.add(scores, i32.shl(t, 2)), score));
    f.set(max, f32x4.pmax(max, f32x4.splat(score)));
    f.advance(key, rowBytes);
  });
  return largestLane(f, max);
}

/** Four lanes of partial sums of q . k for `rows` consecutive positions. */
function dotProducts(f: FunctionBuilder, { query, headSize, rowBytes }: Scores, key: Local<"i32">, rows: number) {
  const sums = f.locals("v128", rows);
  const at = Array.from({ length: rows }, (_, i) => f.let(i32.add(key, i32.mul(rowBytes, i))));
  const q = f.local("v128");
  for (const sum of sums) f.set(sum, zeroVector);
  overLanes(f, headSize, (offset, mask) => {
    f.set(q, v128.load(i32.add(query, offset)));
    sums.forEach((sum, i) => {
      const product = f32x4.mul(q, v128.load(i32.add(at[i], offset)));
      f.set(sum, f32x4.add(sum, mask ? v128.and(product, mask) : product));
    });
  });
  return sums;
}

/** The totals (s0 + s1) + (s2 + s3) of four vectors, as one vector. */
export function fourTotals(f: FunctionBuilder, [a, b, c, d]: Local<"v128">[]): Expression<"v128"> {
  const lanes = (...order: number[]) => order.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
  const pairs = (x: Local<"v128">, y: Local<"v128">) =>
    f.let(f32x4.add(i8x16.shuffle(x, y, lanes(0, 4, 2, 6)), i8x16.shuffle(x, y, lanes(1, 5, 3, 7))));
  const [low, high] = [pairs(a, b), pairs(c, d)];
  return f32x4.add(i8x16.shuffle(low, high, lanes(0, 1, 4, 5)), i8x16.shuffle(low, high, lanes(2, 3, 6, 7)));
}

interface Mix {
  readonly target: Local<"i32">;
  readonly values: Local<"i32">;
  readonly headSize: Local<"i32">;
  readonly count: Local<"i32">;
  readonly rowBytes: Local<"i32">;
  readonly scores: Local<"i32">;
  readonly total: Local<"v128">;
}

/** out[i] = (sum over t of scores[t] * values[t][i]) / total. */
function emitMix(f: FunctionBuilder, { target, values, headSize, count, rowBytes, scores, total }: Mix): void {
  const wide = 8;
  const [t, done] = f.locals("i32", 2);
  const weight = f.local("v128");
  const weighted = (offset: Expression<"i32">, sums: readonly Local<"v128">[]) => {
    const value = f.let(i32.add(values, offset));
    for (const sum of sums) f.set(sum, zeroVector);
    f.for(t, 0, count, 1, () => {
      f.set(weight, v128.load32_splat(i32.add(scores, i32.shl(t, 2))));
      sums.forEach((sum, i) => {
        f.set(sum, f32x4.add(sum, f32x4.mul(weight, v128.load(value, 16 * i))));
      });
      f.advance(value, rowBytes);
    });
  };
  const bytes = f.let(i32.shl(headSize, 2));
  f.set(done, 0);
  const sums = f.locals("v128", wide);
  f.block((end) =>
    f.loop((next) => {
      f.branchIf(end, i32.lt_s(i32.sub(bytes, done), 16 * wide));
      weighted(done, sums);
      sums.forEach((sum, i) => {
        f.emit(v128.store(i32.add(target, done), f32x4.div(sum, total), 16 * i));
      });
      f.advance(done, 16 * wide);
      f.branch(next);
    }),
  );
  const [sum] = f.locals("v128", 1);
  overLanes(f, i32.shr_u(i32.sub(bytes, done), 2), (offset, _, rest) => {
    weighted(i32.add(done, offset), [sum]);
    storeLanes(f, i32.add(i32.add(target, done), offset), f32x4.div(sum, total), rest);
  });
}
