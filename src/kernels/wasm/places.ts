/**
 * Where the blocks of a quad lie. Mostly a quad is a run of its own. Four quads that are looked up together (lookup-sums.ts) lie
 * side by side instead: their headers one after another, then for each eight k 16 bytes, of which byte 4 c + s holds those
 * of column c of quad s.
 */
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i32 } from "./instructions.js";
import type { Layout } from "./layout.js";

/** The first header of a quad, and the first of its codes. */
export interface QuadPlace {
  readonly header: Expression<"i32">;
  readonly codes: Expression<"i32">;
}

export function quadPlace(
  f: FunctionBuilder,
  { beside, headerBytes }: Pick<Layout, "beside" | "headerBytes">,
  { weights, quadBytes }: { readonly weights: Local<"i32">; readonly quadBytes: Local<"i32"> },
  quad: Expression<"i32">,
): QuadPlace {
  if (beside === 1) {
    const header = i32.add(weights, i32.mul(quad, quadBytes));
    return { header, codes: i32.add(header, headerBytes) };
  }
  const number = f.let(quad);
  const group = f.let(i32.add(weights, i32.mul(i32.shr_u(number, 2), i32.shl(quadBytes, 2))));
  const member = f.let(i32.and(number, 3));
  return {
    header: i32.add(group, i32.mul(member, headerBytes)),
    codes: i32.add(i32.add(group, 4 * headerBytes), member),
  };
}
