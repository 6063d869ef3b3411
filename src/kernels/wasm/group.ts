/**
 * Matrices that one input is multiplied with as if they stood one below the other (streams.ts): their rows are dealt out to
 * threads and streams together, so that the product of a token begins once for all of them.
 */

import type { CodeMatrix, WasmMatrix } from "./matrix.js";
import { mostOfGroup, noQuad } from "./streams.js";
import { gemmFrom } from "./tile.js";

/** A matrix, and where the outputs of row m of the input go: out + m * outBytes. */
interface Member {
  readonly matrix: CodeMatrix;
  readonly out: number;
  readonly outBytes: number;
  /** Quads of the members before it. */
  readonly start: number;
}

export interface Group {
  readonly first: CodeMatrix;
  readonly members: readonly Member[];
  /** Of all members. */
  readonly quads: number;
}

export function groupOfOne(matrix: CodeMatrix, out: number, outBytes: number): Group {
  return { first: matrix, members: [{ matrix, out, outBytes, start: 0 }], quads: matrix.layout.quads };
}

/** The group of these matrices for `batch` rows, outputs at `outs`; undefined where one code does not serve them all. */
export function groupOf(matrices: readonly WasmMatrix[], outs: readonly number[], batch: number): Group | undefined {
  const [first] = matrices;
  if (batch >= gemmFrom || matrices.length < 2 || matrices.length > mostOfGroup || !fits(first, first))
    return undefined;
  const members: Member[] = [];
  let quads = 0;
  for (const [i, matrix] of matrices.entries()) {
    if (!fits(matrix, first)) return undefined;
    members.push({ matrix, out: outs[i], outBytes: 4 * matrix.rows, start: quads });
    quads += matrix.layout.quads;
  }
  return { first, members, quads };
}

/** Whether the code of `first` also multiplies `matrix` where its outputs are wanted. */
function fits(matrix: WasmMatrix, first: WasmMatrix): matrix is CodeMatrix {
  if (matrix.kind === "bits" || first.kind === "bits" || matrix.module !== first.module) return false;
  const { quadBytes, blocks, blockCells, columns, beside, decode } = matrix.layout;
  const own = first.layout;
  const alike = quadBytes === own.quadBytes && blocks === own.blocks && blockCells === own.blockCells;
  const whole = beside === (own.dot?.together ?? 1) && matrix.rows % (4 * beside) === 0;
  return alike && columns === own.columns && whole && decode.kind !== "table";
}

/** Arguments for the products of row `row`. */
export function placesOf({ members }: Group, row: number) {
  const at = (index: number) => {
    const { matrix, out, outBytes, start } = members[index] ?? members[0];
    return { out: out + row * outBytes, weights: matrix.address, first: index < members.length ? start : noQuad };
  };
  const [zero, one, two] = [at(0), at(1), at(2)];
  return {
    ...{ out: zero.out, weights: zero.weights },
    ...{ out1: one.out, weights1: one.weights, first1: one.first },
    ...{ out2: two.out, weights2: two.weights, first2: two.first },
  };
}
