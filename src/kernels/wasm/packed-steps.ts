/**
 * The steps of a team of packed attention (packed-attention.ts): scores against decoded keys, exponentials and their sums, sums of
 * values. Each is a function of the module, called for keys and values of the stores and for recent ones alike.
 */
import { fourTotals } from "./attention.js";
import type { FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32x4, i32, v128 } from "./instructions.js";
import { expLanes, zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";

/** The steps of a team of `height` heads, which stand one after another in queries and outputs. */
export function defineSteps(m: ModuleBuilder, headSize: number, height: number) {
  const lanes = Array.from({ length: height }, (_, i) => i);
  const headBytes = 4 * headSize;

  /** to[t] = (q . keys[t]) / sqrt(headSize), four lanes of queries, for `count` positions. */
  const score = m.func(
    `$score${height}`,
    { query: "i32", keys: "i32", rowBytes: "i32", count: "i32", to: "i32" } as const,
    "void",
    (f, { query, keys, rowBytes, count, to }) => {
      const scale = f.let(f32x4.splat(Math.fround(1 / Math.sqrt(headSize))));
      const atOnce = Math.floor(8 / height);
      const t = f.local("i32");
      const positions = (many: number) => {
        const products = dotProducts(f, { headSize, lanes, query, key: keys, rowBytes, many });
        products.forEach((sums, i) => {
          const four = [0, 1, 2, 3].map((lane) => sums[Math.min(lane, height - 1)]);
          f.emit(v128.store(to, f32x4.mul(fourTotals(f, four), scale), 16 * i));
        });
        f.advance(to, 16 * many);
        f.advance(keys, i32.mul(rowBytes, many));
      };
      const whole = f.let(i32.sub(count, i32.rem_u(count, atOnce)));
      f.for(t, 0, whole, atOnce, () => positions(atOnce));
      if (atOnce > 1) f.for(t, whole, count, 1, () => positions(1));
    },
  );

  /** Scores become exp(score - max); total: their sums, position t in partial sum t mod 4. */
  const weigh = m.func(`$weigh${height}`, { scores: "i32", count: "i32", total: "i32" } as const, "void", (f, args) => {
    const { scores, count, total } = args;
    const exp = expLanes(f);
    const [t, at] = f.locals("i32", 2);
    const max = f.let(f32x4.splat(-Infinity));
    f.set(at, scores);
    f.for(t, 0, count, 1, () => {
      f.set(max, f32x4.pmax(max, v128.load(at)));
      f.advance(at, 16);
    });
    const sums = lanes4.map(() => f.let(zeroVector));
    const term = f.local("v128");
    const one = (sum: Local<"v128">, offset: number) => {
      f.set(term, exp(f32x4.sub(v128.load(at, offset), max)));
      f.emit(v128.store(at, term, offset));
      f.set(sum, f32x4.add(sum, term));
    };
    f.set(at, scores);
    f.for(t, 0, i32.and(count, -4), 4, () => {
      for (const [i, sum] of sums.entries()) one(sum, 16 * i);
      f.advance(at, 64);
    });
    const rest = f.let(i32.and(count, 3));
    for (const i of [0, 1, 2]) f.if(i32.gt_u(rest, i), () => one(sums[i], 16 * i));
    const [a, b, c, d] = sums;
    f.emit(v128.store(total, f32x4.add(f32x4.add(a, b), f32x4.add(c, d))));
  });

  const clear = m.func(`$clear${height}`, { target: "i32" } as const, "void", (f, { target }) => {
    for (let at = 0; at < height * headBytes; at += 16) f.emit(v128.store(target, zeroVector, at));
  });

  /** target[i] += scores[t] * values[t][i], position after position, for each head. */
  const mix = m.func(
    `$mix${height}`,
    { target: "i32", values: "i32", rowBytes: "i32", count: "i32", scores: "i32" } as const,
    "void",
    (f, { target, values, rowBytes, count, scores }) => {
      const wide = divisor(headSize / 4, Math.floor(8 / height));
      const vectors = Array.from({ length: wide }, (_, i) => i);
      const sums = lanes.map(() => f.locals("v128", wide));
      const held = f.locals("v128", wide);
      const weight = f.local("v128");
      const [offset, at, value, place] = f.locals("i32", 4);
      f.if(count, () =>
        f.for(offset, 0, headBytes, 16 * wide, () => {
          f.set(place, i32.add(target, offset));
          f.set(at, scores);
          f.set(value, i32.add(values, offset));
          const all = (body: (sum: Local<"v128">, where: number) => void) => {
            for (const j of lanes) for (const v of vectors) body(sums[j][v], j * headBytes + 16 * v);
          };
          all((sum, where) => f.set(sum, v128.load(place, where)));
          f.repeat(f.local("i32"), count, () => {
            for (const v of vectors) f.set(held[v], v128.load(value, 16 * v));
            for (const j of lanes) {
              f.set(weight, v128.load32_splat(at, 4 * j));
              for (const v of vectors) f.set(sums[j][v], f32x4.add(sums[j][v], f32x4.mul(weight, held[v])));
            }
            f.advance(at, 16);
            f.advance(value, rowBytes);
          });
          all((sum, where) => f.emit(v128.store(place, sum, where)));
        }),
      );
    },
  );

  const divide = m.func(`$divide${height}`, { target: "i32", total: "i32" } as const, "void", (f, args) => {
    const { target, total } = args;
    const divisorOf = f.local("v128");
    for (const j of lanes) {
      f.set(divisorOf, v128.load32_splat(total, 4 * j));
      for (let at = j * headBytes; at < (j + 1) * headBytes; at += 16) {
        f.emit(v128.store(target, f32x4.div(v128.load(target, at), divisorOf), at));
      }
    }
  });
  return { score, weigh, clear, mix, divide };
}

const lanes4 = [0, 1, 2, 3];

interface Dots {
  readonly headSize: number;
  readonly lanes: readonly number[];
  readonly query: Local<"i32">;
  readonly key: Local<"i32">;
  readonly rowBytes: Local<"i32">;
  readonly many: number;
}

/** Four partial sums of q . k for each query, for `many` positions. */
function dotProducts(f: FunctionBuilder, { headSize, lanes, query, key, rowBytes, many }: Dots) {
  const unrolled = divisor(headSize / 4, 8);
  const rows = Array.from({ length: many }, (_, i) => f.let(i32.add(key, i32.mul(rowBytes, i))));
  const input = f.let(query);
  const sums = rows.map(() => lanes.map(() => f.let(zeroVector)));
  const held = f.locals("v128", many);
  const x = f.local("v128");
  f.repeat(f.local("i32"), headSize / 4 / unrolled, () => {
    for (let i = 0; i < unrolled; i++) {
      rows.forEach((row, k) => {
        f.set(held[k], v128.load(row, 16 * i));
      });
      for (const j of lanes) {
        f.set(x, v128.load(input, 4 * headSize * j + 16 * i));
        sums.forEach((of, k) => {
          f.set(of[j], f32x4.add(of[j], f32x4.mul(x, held[k])));
        });
      }
    }
    for (const address of [...rows, input]) f.advance(address, 16 * unrolled);
  });
  return sums;
}
