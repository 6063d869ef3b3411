/**
 * The kernels that multiply activations rounded to int8 (round-activations.ts) with small-integer weights, as int8.ts defines
 * it: `gemvInt8` takes one row of them, `gemmInt8` unpacks panels once for many rows.
 * Sums within a block are exact integers, so the relaxed dot, the i16 dot and the reference agree to the bit.
 *
 * With the relaxed dot activations are bytes, four k in a 32-bit word that is splatted over the four columns. Without
 * it they are i16 in the order k0 k2 k1 k3: the even bytes of a weight vector, as i16, meet (k0, k2), the odd ones
 * (k1, k3), and `i32x4.dot_i16x8_s` leaves one sum for each column in its lane.
 */
import { byLookup } from "./byte-dot.js";
import type { ModuleBuilder } from "./emitter.js";
import { emitGemm, gemmInt8 } from "./gemm-int8.js";
import { emitQuads, gemvInt8 } from "./gemv-int8.js";
import { emitSharedBytes } from "./gemv-shared-bytes.js";
import type { Int8Layout } from "./int8-layout.js";
import { defineKernel } from "./kernel.js";
import { emitLookups, emitTables, lookupTables } from "./lookup-sums.js";
import { emitRoundRows, roundRows } from "./round-activations.js";
import { overGroup } from "./streams.js";

export { gemmInt8, panelBytes } from "./gemm-int8.js";
export { gemvInt8 } from "./gemv-int8.js";
export { type Int8Layout, isInt8, sumFactor } from "./int8-layout.js";

export function defineInt8(m: ModuleBuilder, layout: Int8Layout): void {
  defineKernel(m, roundRows, (f, args, range) => emitRoundRows(f, layout, args, range));
  if (byLookup(layout.dot)) {
    defineKernel(m, lookupTables, (f, args, range) => emitTables(f, layout, args, range));
  }
  defineKernel(m, gemvInt8, (f, args, range) => {
    if (byLookup(layout.dot)) emitLookups(f, layout, args, range);
    else {
      const emit = layout.dot.together > 1 ? emitSharedBytes : emitQuads;
      overGroup(f, layout, args, range, (quads) => emit(f, layout, args, quads));
    }
  });
  defineKernel(m, gemmInt8, (f, args, range) => emitGemm(f, layout, args, range));
}
