/** Products with planes of bits: activations rounded to planes once for all products of the same input, then one call a row. */
import type { BitLayout } from "./bit-planes.js";
import { countBits, embedBits } from "./count-bits.js";
import type { Engine } from "./engine.js";
import { roundUp } from "./layout.js";
import type { BitMatrix } from "./matrix.js";
import { planesBytes, roundToPlanes } from "./round-to-planes.js";

/** Where the planes of activations lie, what they were made of, and by which operation. */
interface Planes {
  readonly x: number;
  readonly batch: number;
  readonly layout: BitLayout;
  readonly planes: number;
  readonly scales: number;
  readonly sums: number;
  readonly ones: number;
  readonly operation: number;
}

export class BitProducts {
  readonly #engine: Engine;
  #last: Planes | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** out[b, n] = sum_k x[b, k] weight[n, k], at addresses. */
  run(out: number, x: number, matrix: BitMatrix, batch: number): void {
    const { layout, module, address: weights } = matrix;
    const { rows, columns, blocks, quads } = layout;
    const { planes, scales, sums, ones } = this.#rounded(x, matrix, batch);
    const quadsPerItem = roundUp(Math.ceil(quads / this.#engine.threads), 4);
    const items = Math.ceil(quads / quadsPerItem);
    for (let m = 0; m < batch; m++) {
      const at = (base: number) => base + 4 * m * blocks;
      const own = { planes: planes + m * planesBytes(layout), scales: at(scales), sums: at(sums), ones: at(ones) };
      const args = { ...own, out: out + 4 * m * rows, weights, quadsPerItem };
      this.#engine.run(module, countBits, args, items, rows * columns);
    }
  }

  /** out[i] = row ids[i] of the matrix. */
  embed(out: number, ids: number, { layout, module, address: weights }: BitMatrix, count: number): void {
    const scratch = this.#engine.scratch("numbers of a block", 32 * this.#engine.threads);
    this.#engine.run(module, embedBits, { out, ids, weights, scratch }, count, 16 * count * layout.columns);
  }

  #rounded(x: number, { layout, module }: BitMatrix, batch: number): Planes {
    const { columns, blocks, blockColumns, words, bits } = layout;
    const last = this.#last;
    const same =
      last?.x === x &&
      last.batch === batch &&
      last.layout.columns === columns &&
      last.layout.blockColumns === blockColumns &&
      last.layout.bits === bits;
    if (last && same && this.#engine.unchangedSince(x, last.operation)) return last;
    const shared = (purpose: string) => this.#engine.scratch(`${purpose} of planes`, 4 * batch * blocks);
    const to = {
      planes: this.#engine.scratch("planes of activations", batch * planesBytes(layout)),
      ...{ scales: shared("scales"), sums: shared("sums"), ones: shared("ones") },
    };
    const scratchBytes = roundUp(32 * words, 64);
    const scratch = this.#engine.scratch("rounded block", scratchBytes * this.#engine.threads);
    const args = { ...to, x, scratch, scratchBytes };
    this.#engine.run(module, roundToPlanes, args, batch * blocks, 8 * batch * columns);
    this.#last = { ...to, x, batch, layout, operation: this.#engine.operations };
    return this.#last;
  }
}
