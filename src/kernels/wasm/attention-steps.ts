/**
 * The steps of a tile of attention (attention-tiles.ts). Scores lie by position, those of the tile's four queries side by side:
 * maxima, exponentials and their sums then need no moves between lanes, and a weight enters the sum of values by a splat.
 */
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32x4, f32x4Const, i8x16, i32, i32x4, v128 } from "./instructions.js";
import { zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";

/** Room for the scores of a tile whose last query sees `positions`; exponentials are taken of four positions at a time. */
export const tileScratchBytes = (positions: number) => 16 * (positions + 5);

/** Positions whose values are summed up before the next columns' turn: a head's share of them stays in the L1 cache. */
const chunk = 64;

/** Positions fetched at a time: they stay in the L2 cache. A multiple of `chunk`, and of the keys multiplied at once. */
const fetched = 256;

export interface Query {
  readonly query: Local<"i32">;
  readonly target: Local<"i32">;
  /** Positions it sees. */
  readonly count: Local<"i32">;
}

export interface TileArguments {
  readonly keys: Local<"i32">;
  readonly values: Local<"i32">;
  readonly rowBytes: Local<"i32">;
  readonly scores: Local<"i32">;
  readonly each: readonly Query[];
  /** Whether the step has one row. */
  readonly oneRow: Expression<"i32">;
  readonly exp: (x: Expression<"v128">) => Expression<"v128">;
}

interface Tile extends TileArguments {
  /** Positions that all of its queries see, and that the last one sees. */
  readonly shared: Local<"i32">;
  readonly all: Local<"i32">;
  /** Lanes whose query sees the position. */
  seenAt(position: Expression<"i32">): Expression<"v128">;
}

/** One tile: the attention of its queries, from scores to the sums of values. */
export function emitTile(f: FunctionBuilder, headSize: number, args: TileArguments): void {
  const counts = f.local("v128");
  f.set(counts, zeroVector);
  args.each.forEach(({ count }, lane) => {
    f.set(counts, i32x4.replace_lane(counts, lane, count));
  });
  const seenAt = (position: Expression<"i32">) => i32x4.gt_s(counts, i32x4.splat(position));
  const [shared, all] = [args.each[0].count, args.each[args.each.length - 1].count];
  const tile: Tile = { ...args, shared, all, seenAt };
  const max = emitScores(f, headSize, tile);
  const total = emitExponentials(f, tile, max);
  emitMix(f, headSize, tile, total);
}

/** scores[t] = (q . keys[t]) / sqrt(headSize) of each query, for every position of the tile; the largest that each sees. */
function emitScores(f: FunctionBuilder, headSize: number, tile: Tile): Local<"v128"> {
  const { keys, rowBytes, scores, each, shared, all, seenAt } = tile;
  const [t, start, end, key, to] = f.locals("i32", 5);
  const scale = Math.fround(1 / Math.sqrt(headSize));
  const factor = f32x4Const([scale, scale, scale, scale]);
  const low = f32x4.splat(-Infinity);
  const max = f.let(low);
  const score = f.local("v128");
  const keysAtOnce = Math.floor(8 / each.length);
  const positions = (count: number, keep: (score: Local<"v128">) => Expression<"v128">) => {
    const products = dotProducts(f, headSize, tile, key, count);
    products.forEach((lanes, i) => {
      f.set(score, f32x4.mul(totals(f, lanes), factor));
      f.emit(v128.store(to, score, 16 * i));
      f.set(max, f32x4.pmax(max, keep(score)));
    });
    f.advance(to, 16 * count);
    f.advance(key, count === 1 ? rowBytes : i32.mul(rowBytes, count));
  };
  f.set(key, keys);
  f.set(to, scores);
  const whole = f.let(i32.sub(shared, i32.rem_u(shared, keysAtOnce)));
  f.for(start, 0, whole, fetched, () => {
    f.if(tile.oneRow, () => fetch(f, headSize, tile, keys, start));
    f.set(end, i32.add(start, fetched));
    f.if(i32.gt_u(end, whole), () => f.set(end, whole));
    f.for(t, start, end, keysAtOnce, () => positions(keysAtOnce, (all) => all));
  });
  f.for(t, whole, all, 1, () => positions(1, (one) => v128.bitselect(one, low, seenAt(t))));
  return max;
}

/**
 * Reads a word of every cache line of `fetched` positions. In a step of one row they come from beyond the caches, and products
 * keep too few lines under way to wait for them one by one. The sum of the words goes where no score stands.
 */
function fetch(
  f: FunctionBuilder,
  headSize: number,
  { rowBytes, scores, shared, all }: Tile,
  rows: Local<"i32">,
  start: Local<"i32">,
): void {
  const [t, end, sum] = f.locals("i32", 3);
  f.set(end, i32.add(start, fetched));
  f.if(i32.gt_u(end, shared), () => f.set(end, shared));
  const at = f.let(i32.add(rows, i32.mul(start, rowBytes)));
  f.for(t, start, end, 1, () => {
    for (let offset = 0; offset < 4 * headSize; offset += 64) f.set(sum, i32.add(sum, i32.load(at, offset)));
    f.advance(at, rowBytes);
  });
  f.emit(i32.store(i32.add(scores, i32.shl(i32.add(all, 4), 4)), sum));
}

/** Four partial sums of q . k for each query, position by position, `count` of them. */
function dotProducts(
  f: FunctionBuilder,
  headSize: number,
  { rowBytes, each }: Tile,
  key: Local<"i32">,
  count: number,
): readonly (readonly Local<"v128">[])[] {
  const vectors = headSize / 4;
  const unrolled = divisor(vectors, 8);
  const rounds = vectors / unrolled;
  const own = (address: Local<"i32">) => (rounds > 1 ? f.let(address) : address);
  const keyRows = Array.from({ length: count }, (_, i) =>
    i === 0 ? own(key) : f.let(i32.add(key, i === 1 ? rowBytes : i32.mul(rowBytes, i))),
  );
  const queries = each.map(({ query }) => own(query));
  const sums = keyRows.map(() => each.map(() => f.let(zeroVector)));
  const held = f.locals("v128", count);
  const x = f.local("v128");
  const round = () => {
    for (let i = 0; i < unrolled; i++) {
      keyRows.forEach((row, k) => {
        f.set(held[k], v128.load(row, 16 * i));
      });
      queries.forEach((query, j) => {
        f.set(x, v128.load(query, 16 * i));
        sums.forEach((of, k) => {
          f.set(of[j], f32x4.add(of[j], f32x4.mul(x, held[k])));
        });
      });
    }
  };
  if (rounds === 1) round();
  else {
    f.repeat(f.local("i32"), rounds, () => {
      round();
      for (const address of [...keyRows, ...queries]) f.advance(address, 16 * unrolled);
    });
  }
  return sums;
}

/** (s0 + s1) + (s2 + s3) of up to four vectors, one in each lane; lanes beyond them hold the last one's. */
function totals(f: FunctionBuilder, sums: readonly Local<"v128">[]): Expression<"v128"> {
  const of = (i: number) => sums[Math.min(i, sums.length - 1)];
  const lanes = (...order: number[]) => order.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
  const pairs = (x: Local<"v128">, y: Local<"v128">) =>
    f.let(f32x4.add(i8x16.shuffle(x, y, lanes(0, 4, 2, 6)), i8x16.shuffle(x, y, lanes(1, 5, 3, 7))));
  const low = pairs(of(0), of(1));
  const high = sums.length > 2 ? pairs(of(2), of(3)) : low;
  return f32x4.add(i8x16.shuffle(low, high, lanes(0, 1, 4, 5)), i8x16.shuffle(low, high, lanes(2, 3, 6, 7)));
}

/** Scores become exp(score - max); their sum for each query, position t in partial sum t mod 4. */
function emitExponentials(f: FunctionBuilder, tile: Tile, max: Local<"v128">): Local<"v128"> {
  const { scores, shared, all, seenAt, exp } = tile;
  const [t, at] = f.locals("i32", 2);
  const sums = Array.from({ length: 4 }, () => f.let(zeroVector));
  const term = f.local("v128");
  const four = (seen?: (position: Expression<"i32">) => Expression<"v128">) => {
    sums.forEach((sum, i) => {
      f.set(term, exp(f32x4.sub(v128.load(at, 16 * i), max)));
      f.emit(v128.store(at, term, 16 * i));
      f.set(sum, f32x4.add(sum, seen ? v128.and(term, seen(i32.add(t, i))) : term));
    });
    f.advance(at, 64);
  };
  f.set(at, scores);
  const whole = f.let(i32.and(shared, -4));
  f.for(t, 0, whole, 4, () => four());
  f.for(t, whole, all, 4, () => four(seenAt));
  const [a, b, c, d] = sums;
  return f.let(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** out[i] = (sum over t of scores[t] * values[t][i]) / total, for each query. */
function emitMix(f: FunctionBuilder, headSize: number, tile: Tile, total: Local<"v128">): void {
  const { values, rowBytes, scores, each, shared, all } = tile;
  const [t, start, end, offset, weight, value, left] = f.locals("i32", 7);
  const wide = divisor(headSize / 4, Math.floor(8 / each.length));
  const vectors = Array.from({ length: wide }, (_, i) => i);
  const sums = each.map(() => f.locals("v128", wide));
  const held = f.locals("v128", wide);
  const x = f.local("v128");
  const columns = (body: () => void) => f.for(offset, 0, 4 * headSize, 16 * wide, body);
  const place = ({ target }: Query) => f.let(i32.add(target, offset));
  const position = (i: number) => {
    for (const v of vectors) f.set(held[v], v128.load(value, 16 * v));
    sums.forEach((of, j) => {
      f.set(x, v128.load32_splat(weight, 16 * i + 4 * j));
      for (const v of vectors) f.set(of[v], f32x4.add(of[v], f32x4.mul(x, held[v])));
    });
    f.advance(value, rowBytes);
  };
  for (const { target } of each) {
    f.for(offset, 0, 4 * headSize, 16, () => f.emit(v128.store(i32.add(target, offset), zeroVector)));
  }
  f.for(start, 0, shared, chunk, () => {
    const unfetched = i32.eqz(i32.and(start, fetched - 1));
    f.if(i32.and(tile.oneRow, unfetched), () => fetch(f, headSize, tile, values, start));
    f.set(end, i32.add(start, chunk));
    f.if(i32.gt_u(end, shared), () => f.set(end, shared));
    columns(() => {
      const targets = each.map(place);
      targets.forEach((target, j) => {
        for (const v of vectors) f.set(sums[j][v], v128.load(target, 16 * v));
      });
      f.set(weight, i32.add(scores, i32.shl(start, 4)));
      f.set(value, i32.add(i32.add(values, offset), i32.mul(start, rowBytes)));
      const pairs = f.let(i32.shr_u(i32.sub(end, start), 1));
      f.if(pairs, () =>
        f.repeat(left, pairs, () => {
          position(0);
          position(1);
          f.advance(weight, 32);
        }),
      );
      f.if(i32.and(i32.sub(end, start), 1), () => position(0));
      targets.forEach((target, j) => {
        for (const v of vectors) f.emit(v128.store(target, sums[j][v], 16 * v));
      });
    });
  });
  // Positions that only the later queries see.
  f.for(t, shared, all, 1, () => {
    f.set(weight, i32.add(scores, i32.shl(t, 4)));
    f.set(value, i32.add(values, i32.mul(t, rowBytes)));
    each.slice(1).forEach(({ target, count }, j) => {
      f.if(i32.lt_u(t, count), () => {
        f.set(x, v128.load32_splat(weight, 4 * (j + 1)));
        f.for(offset, 0, 4 * headSize, 16, () => {
          const sum = f.let(i32.add(target, offset));
          const term = f32x4.mul(x, v128.load(i32.add(value, offset)));
          f.emit(v128.store(sum, f32x4.add(v128.load(sum), term)));
        });
      });
    });
  });
  each.forEach(({ target }, lane) => {
    f.set(x, f32x4.splat(f32x4.extract_lane(total, lane)));
    f.for(offset, 0, 4 * headSize, 16, () => {
      const sum = f.let(i32.add(target, offset));
      f.emit(v128.store(sum, f32x4.div(v128.load(sum), x)));
    });
  });
}
