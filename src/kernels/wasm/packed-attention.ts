/**
 * Attention over positions that are held in a scheme: chunks of keys and values of one head are decoded to the nearest cache
 * (packed-rows.ts) and used at once by all heads of the group and several rows, so that no f32 copy of the cache is ever made.
 * Every number is computed as attention.ts does for a query alone, in the same order.
 *
 * One item is a key-value head with a few rows. Heads of a group that work together, four at most, are a team: their scores lie
 * side by side, position after position, so that maxima, exponentials and sums need no moves between lanes.
 */
import type { PackedAttentionShape } from "../backend.js";
import { fourTotals } from "./attention.js";
import {
  call,
  createModule,
  type FunctionBuilder,
  type Local,
  type MemoryLimits,
  type ModuleBuilder,
} from "./emitter.js";
import { f32x4, i32, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature } from "./kernel.js";
import { expLanes, zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";
import { definePackedRead, PACKED_FIELDS, type PackedField, type PackedPlan } from "./packed-rows.js";

type SideField<S extends string> = `${S}_${PackedField}`;
type Field =
  | (
      | "out"
      | "q"
      | "recentKeys"
      | "recentValues"
      | "packed"
      | "seen"
      | "rows"
      | "rowsPerItem"
      | "scratch"
      | "scratchBytes"
    )
  | SideField<"keys">
  | SideField<"values">;

const sideFields = <S extends string>(side: S) => PACKED_FIELDS.map((field): SideField<S> => `${side}_${field}`);

/** Row b sees seen + b positions, `packed` of them from the stores. scratch: room for packedScratchBytes, for each thread. */
export const packedAttention: KernelSignature<Field> = {
  name: "packedAttention",
  fields: [
    ...(["out", "q", "recentKeys", "recentValues", "packed", "seen", "rows", "rowsPerItem"] as const),
    ...(["scratch", "scratchBytes"] as const),
    ...sideFields("keys"),
    ...sideFields("values"),
  ],
  writes: ["out", "scratch"],
  reads: ["q", "recentKeys", "recentValues"],
};

/** The arguments of a side. */
export const sideArguments = <S extends string>(side: S, addresses: Readonly<Record<PackedField, number>>) =>
  Object.fromEntries(PACKED_FIELDS.map((field) => [`${side}_${field}`, addresses[field]])) as Record<
    SideField<S>,
    number
  >;

/** What the code depends on besides how the sides are read. */
export type PackedShape = Pick<PackedAttentionShape, "heads" | "kvHeads" | "headSize" | "chunk">;

/** Rows of an item: chunks are decoded once for all of them. */
export const mostRowsPerItem = 8;

/** Heads of the teams of a group: as equal as can be. */
function teamsOf({ heads, kvHeads }: PackedShape): readonly number[] {
  const group = heads / kvHeads;
  const teams = Math.ceil(group / 4);
  return Array.from(
    { length: teams },
    (_, i) => Math.floor(((i + 1) * group) / teams) - Math.floor((i * group) / teams),
  );
}

/** A chunk, the room to turn it in, and for each row of an item and each team the totals and scores of `positions`. */
export function packedScratchBytes(shape: PackedShape, rows: number, positions: number): number {
  return 8 * shape.chunk * shape.headSize + rows * teamsOf(shape).length * scoreBytes(positions);
}

const scoreBytes = (positions: number) => 16 * (positions + 5);

export function packedAttentionModule(
  keys: PackedPlan,
  values: PackedPlan,
  shape: PackedShape,
  limits: MemoryLimits,
): Uint8Array<ArrayBuffer> {
  const { heads, kvHeads, headSize, chunk } = shape;
  const m = createModule(limits);
  const width = kvHeads * headSize;
  const [headBytes, rowBytes, group] = [4 * headSize, 4 * width, heads / kvHeads];
  const size = { headSize, width, chunk };
  const readKeys = definePackedRead(m, "$readKeys", keys, size);
  const readValues = definePackedRead(m, "$readValues", values, size);
  const teams = teamsOf(shape);
  const steps = new Map([...new Set(teams)].map((height) => [height, defineSteps(m, headSize, height)]));
  defineKernel(m, packedAttention, (f, args, { from, to, thread }) => {
    const { out, q, packed, seen, rows, rowsPerItem, scratch, scratchBytes } = args;
    const [item, t, row] = f.locals("i32", 3);
    const tile = f.let(i32.add(scratch, i32.mul(thread, scratchBytes)));
    const room = f.let(i32.add(tile, 4 * chunk * headSize));
    const scores = f.let(i32.add(room, 4 * chunk * headSize));
    const stride = f.let(i32.shl(i32.add(i32.add(seen, rows), 4), 4));
    f.for(item, from, to, 1, () => {
      const block = f.let(i32.div_u(item, kvHeads));
      const head = f.let(i32.sub(item, i32.mul(block, kvHeads)));
      const first = f.let(i32.mul(block, rowsPerItem));
      const end = f.let(i32.add(first, rowsPerItem));
      f.if(i32.gt_u(end, rows), () => f.set(end, rows));
      const start = (base: Local<"i32">) =>
        f.let(i32.add(base, i32.mul(i32.add(i32.mul(first, heads), i32.mul(head, group)), headBytes)));
      const [query, target] = [start(q), start(out)];
      /** Calls a step for every team of every row, with where its queries, outputs, totals and scores lie. */
      const each = (body: (team: Team, height: number) => void) => {
        const [input, output, own] = [f.let(query), f.let(target), f.let(scores)];
        f.for(row, first, end, 1, () => {
          for (const height of teams) {
            body({ query: input, target: output, total: own, scores: f.let(i32.add(own, 16)) }, height);
            f.advance(input, height * headBytes);
            f.advance(output, height * headBytes);
            f.advance(own, stride);
          }
          for (const address of [input, output]) f.advance(address, (heads - group) * headBytes);
        });
      };
      const at = (base: Local<"i32">, position: Local<"i32">) => i32.add(base, i32.shl(position, 4));
      const recent = (base: Local<"i32">) => f.let(i32.add(base, i32.mul(head, headBytes)));
      const left = () => i32.sub(i32.add(seen, row), packed);
      const step = (height: number) => steps.get(height) as Steps;

      f.for(t, 0, packed, chunk, () => {
        f.emit(call(readKeys, { ...side(args, "keys"), head, position: t, to: tile, room }));
        each(({ query, scores }, height) =>
          f.emit(call(step(height).score, { query, keys: tile, rowBytes: headBytes, count: chunk, to: at(scores, t) })),
        );
      });
      const newKeys = recent(args.recentKeys);
      each(({ query, scores, total, target }, height) => {
        const { score, weigh, clear } = step(height);
        f.emit(
          call(score, { query, keys: newKeys, rowBytes, count: left(), to: at(scores, packed) }),
          call(weigh, { scores, count: i32.add(seen, row), total }),
          call(clear, { target }),
        );
      });
      f.for(t, 0, packed, chunk, () => {
        f.emit(call(readValues, { ...side(args, "values"), head, position: t, to: tile, room }));
        each(({ target, scores }, height) =>
          f.emit(
            call(step(height).mix, { target, values: tile, rowBytes: headBytes, count: chunk, scores: at(scores, t) }),
          ),
        );
      });
      const newValues = recent(args.recentValues);
      each(({ target, scores, total }, height) => {
        const { mix, divide } = step(height);
        f.emit(
          call(mix, { target, values: newValues, rowBytes, count: left(), scores: at(scores, packed) }),
          call(divide, { target, total }),
        );
      });
    });
  });
  return m.bytes();
}

interface Team {
  readonly query: Local<"i32">;
  readonly target: Local<"i32">;
  readonly total: Local<"i32">;
  readonly scores: Local<"i32">;
}

const side = (args: Fields<Field>, name: "keys" | "values") =>
  Object.fromEntries(PACKED_FIELDS.map((field) => [field, args[`${name}_${field}`]])) as Fields<PackedField>;

type Steps = ReturnType<typeof defineSteps>;

/** The steps of a team of `height` heads, which stand one after another in queries and outputs. */
function defineSteps(m: ModuleBuilder, headSize: number, height: number) {
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
