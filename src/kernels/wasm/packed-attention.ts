/**
 * Attention over positions that are held in a scheme: chunks of keys and values of one head are decoded to the nearest cache
 * (packed-rows.ts) and used at once by all heads of the group and several rows, so that no f32 copy of the cache is ever made.
 * Every number is computed as attention.ts does for a query alone, in the same order.
 *
 * One item is a key-value head with a few rows. Heads of a group that work together, four at most, are a team: their scores lie
 * side by side, position after position, so that maxima, exponentials and sums need no moves between lanes.
 */
import type { PackedAttentionShape } from "../backend.js";
import { call, createModule, type Local, type MemoryLimits } from "./emitter.js";
import { i32 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature } from "./kernel.js";
import { definePackedRead, PACKED_FIELDS, type PackedField, type PackedPlan } from "./packed-rows.js";
import { defineSteps } from "./packed-steps.js";

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
