/**
 * Where the blocks of a quad lie. Mostly a quad is a run of its own. Four quads that are looked up together (lookup-sums.ts) lie
 * side by side instead: their headers one after another, then for each eight k 16 bytes, of which byte 4 c + s holds those
 * of column c of quad s. Two or four quads whose codes share bytes (gemv-shared-bytes.ts) lie so too: for each four k 16 bytes,
 * of which byte 4 c + k holds those of column c of all quads.
 */
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i32 } from "./instructions.js";
import type { Layout } from "./layout.js";

/** The first header of a quad, and the first of its codes. */
export interface QuadPlace {
  readonly header: Expression<"i32">;
  readonly codes: Expression<"i32">;
  /** The lowest bit of its codes in their bytes, where it is not always 0. */
  readonly shift?: Expression<"i32">;
}

export function quadPlace(
  f: FunctionBuilder,
  { beside, headerBytes, dot }: Pick<Layout, "beside" | "headerBytes" | "dot">,
  { weights, quadBytes }: { readonly weights: Local<"i32">; readonly quadBytes: Local<"i32"> },
  quad: Expression<"i32">,
): QuadPlace {
  if (beside === 1) {
    const header = i32.add(weights, i32.mul(quad, quadBytes));
    return { header, codes: i32.add(header, headerBytes) };
  }
  const number = f.let(quad);
  const power = Math.log2(beside);
  const group = f.let(i32.add(weights, i32.mul(i32.shr_u(number, power), i32.shl(quadBytes, power))));
  const member = f.let(i32.and(number, beside - 1));
  const header = i32.add(group, i32.mul(member, headerBytes));
  const codes = i32.add(group, beside * headerBytes);
  return dot && dot.together > 1
    ? { header, codes, shift: i32.mul(member, dot.bits) }
    : { header, codes: i32.add(codes, member) };
}
