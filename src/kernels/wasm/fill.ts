/** Writing a weight into memory as its layout plans it. */
import { decodeTableF32 } from "../../formats/table.js";
import { demandIntegerZeroPoints } from "../int8.js";
import { codeValue, type WeightRows } from "../weight-rows.js";
import { packCells } from "./cells.js";
import type { Layout } from "./layout.js";

/** Writes the weight into `memory` at `address` (a multiple of 16) as planned. */
export function fillLayout(layout: Layout, weight: WeightRows, memory: ArrayBufferLike, address: number): void {
  const { rows, storedQuads, quadBytes, blocks, paddedBlock, paddedColumns, headerBytes, dot } = layout;
  const words = new Uint32Array(memory, address, layout.bytes / 4);
  const floats = new Float32Array(memory, address, layout.bytes / 4);
  words.fill(0);
  const unpacked = new (layout.decode.bits <= 8 ? Uint8Array : layout.decode.bits === 16 ? Uint16Array : Uint32Array)(
    4 * paddedColumns,
  );
  const lanes = [0, 1, 2, 3].map((lane) => unpacked.subarray(lane * paddedColumns, (lane + 1) * paddedColumns));
  const byColumn = layout.order === "column major";
  const zero = layout.decode.kind === "binary32" ? 0 : zeroCode(weight);
  const pad = layout.recode ? layout.recode[zero] : zero;
  for (let quad = 0; quad < storedQuads; quad++) {
    const base = quad * quadBytes;
    unpacked.fill(pad);
    for (let lane = 0; lane < 4 && quad * 4 + lane < rows; lane++) {
      weight.read(quad * 4 + lane);
      if (dot) demandIntegerZeroPoints(weight, dot.unit);
      writeHeaders(layout, weight, floats, base / 4 + lane);
      unpackRow(layout, weight, lanes[lane]);
    }
    for (let block = 0; block < blocks; block++) {
      const at = base + block * layout.blockBytes + headerBytes;
      packCells(lanes, block * paddedBlock, layout.decode.bits, layout.blockCells, byColumn, words, at / 4);
    }
  }
}

/** A code whose value is finite, to pad with: padded activations are 0, and 0 times anything finite changes no sum. */
function zeroCode({ scheme: { element } }: WeightRows): number {
  const values = decodeTableF32(element);
  const zero = values.indexOf(0);
  return zero >= 0 ? zero : values.findIndex((v) => Number.isFinite(v));
}

function writeHeaders(layout: Layout, weight: WeightRows, floats: Float32Array, at: number): void {
  const { scales, offset, blocks, blockColumns, blockBytes, factor, dot } = layout;
  const stride = blockBytes / 4;
  const unit = dot ? dot.unit : factor;
  for (let block = 0; block < blocks; block++) {
    const source = Math.floor((block * blockColumns) / weight.blockColumns);
    if (scales) floats[at + block * stride] = (weight.scales?.[source] ?? 1) * unit;
    if (offset === "none") continue;
    const value = weight.offsets?.[source] ?? 0;
    floats[at + block * stride + (scales ? 4 : 0)] = offset === "min" ? value : value / unit;
  }
}

/** The stored codes of the row in hand, each block padded. */
function unpackRow(layout: Layout, weight: WeightRows, out: Uint8Array | Uint16Array | Uint32Array): void {
  const { blocks, blockColumns, paddedBlock, columns, recode, decode } = layout;
  const { codes } = weight;
  if (decode.kind === "binary32") {
    const floats = new Float32Array(out.buffer, out.byteOffset, out.length);
    const value = codeValue(weight.scheme.element);
    for (let block = 0; block < blocks; block++) {
      const shift = block * (paddedBlock - blockColumns);
      const to = Math.min(columns, (block + 1) * blockColumns);
      for (let k = block * blockColumns; k < to; k++) floats[k + shift] = value(codes[k]);
    }
    return;
  }
  if (recode) for (let k = 0; k < columns; k++) codes[k] = recode[codes[k]];
  if (paddedBlock === blockColumns || blocks <= 1) out.set(codes);
  else {
    for (let block = 0; block < blocks; block++) {
      out.set(codes.subarray(block * blockColumns, (block + 1) * blockColumns), block * paddedBlock);
    }
  }
}
