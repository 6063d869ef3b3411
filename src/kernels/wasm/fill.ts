/** Writing a weight into memory as its layout plans it. */
import { decode } from "../../formats/codec.js";
import { decodeTableF32 } from "../../formats/table.js";
import { demandIntegerZeroPoints } from "../int8.js";
import { codeValue, type WeightRows } from "../weight-rows.js";
import { cellPacker, packEights, sharedPacker } from "./cells.js";
import type { Layout } from "./layout.js";
import { type SharedForm, sharedCode } from "./shared.js";

/** Writes the weight into `memory` at `address` (a multiple of 16) as planned. */
export function fillLayout(layout: Layout, weight: WeightRows, memory: ArrayBufferLike, address: number): void {
  const { rows, storedQuads, quadBytes, blocks, paddedBlock, paddedColumns, headerBytes, dot, beside } = layout;
  const words = new Uint32Array(memory, address, layout.bytes / 4);
  words.fill(0);
  const bytes = new Uint8Array(memory, address, layout.bytes);
  const unpacked = new (layout.decode.bits <= 8 ? Uint8Array : layout.decode.bits === 16 ? Uint16Array : Uint32Array)(
    4 * paddedColumns,
  );
  const lanes = [0, 1, 2, 3].map((lane) => unpacked.subarray(lane * paddedColumns, (lane + 1) * paddedColumns));
  const zero = layout.decode.kind === "binary32" ? 0 : zeroCode(weight);
  const pad = layout.recode ? layout.recode[zero] : zero;
  const pack = cellPacker(lanes, layout.decode.bits, layout.order);
  const packShared = dot && dot.together > 1 ? sharedPacker(lanes) : undefined;
  const writeHeaders = headerWriter(layout, weight, memory, address);
  for (let quad = 0; quad < storedQuads; quad++) {
    const member = quad % beside;
    const group = (quad - member) * quadBytes;
    unpacked.fill(pad);
    for (let lane = 0; lane < 4 && quad * 4 + lane < rows; lane++) {
      weight.read(quad * 4 + lane);
      if (dot) demandIntegerZeroPoints(weight, dot.unit);
      writeHeaders(group + member * headerBytes, lane);
      unpackRow(layout, weight, lanes[lane]);
    }
    for (let block = 0; block < blocks; block++) {
      const at = group + (block * layout.blockBytes + headerBytes) * beside;
      const from = block * paddedBlock;
      if (packShared && dot) packShared(from, paddedBlock, words, at / 4, member * dot.bits);
      else if (beside > 1) packEights(lanes, from, layout.decode.bits, layout.blockCells, bytes, at + member);
      else pack(from, layout.blockCells, words, at / 4);
    }
  }
}

/** A code whose value is finite, to pad with: padded activations are 0, and 0 times anything finite changes no sum. */
function zeroCode({ scheme: { element } }: WeightRows): number {
  // Mostly it is 0, which saves the table of a 16-bit format.
  if (decode(element, 0) === 0) return 0;
  const values = decodeTableF32(element);
  const zero = values.indexOf(0);
  return zero >= 0 ? zero : values.findIndex((v) => Number.isFinite(v));
}

/** Writes the scales and offsets of the row in hand into column `lane` of each block of a quad. */
function headerWriter(layout: Layout, weight: WeightRows, memory: ArrayBufferLike, address: number) {
  const { scale, offset, offsets, blocks, blockColumns, factor, dot } = layout;
  const blockBytes = layout.beside * layout.blockBytes;
  const unit = dot ? dot.unit : factor;
  const view = new DataView(memory, address, layout.bytes);
  const sourceOf = (block: number) => Math.floor((block * blockColumns) / weight.blockColumns);
  const scaleOf =
    scale?.kind === "e4m3"
      ? (block: number) => weight.scaleParts?.own[sourceOf(block)] ?? 0
      : (block: number) => (weight.scales?.[sourceOf(block)] ?? 1) * unit;
  const offsetOf = (block: number) => (weight.offsets?.[sourceOf(block)] ?? 0) / (offset === "min" ? 1 : unit);
  const writer = (form: SharedForm, at: number, of: (block: number) => number) => {
    const code = sharedCode(form.kind);
    return (quad: number, lane: number) => {
      let to = quad + at + (lane * form.bytes) / 4;
      for (let block = 0; block < blocks; block++, to += blockBytes) {
        const stored = code(of(block));
        if (form.bytes === 4) view.setUint8(to, stored);
        else if (form.bytes === 8) view.setUint16(to, stored, true);
        else view.setUint32(to, stored, true);
      }
    };
  };
  const writers = [
    ...(scale ? [writer(scale, 0, scaleOf)] : []),
    ...(offsets ? [writer(offsets, scale?.bytes ?? 0, offsetOf)] : []),
  ];
  return (quad: number, lane: number) => {
    for (const write of writers) write(quad, lane);
  };
}

/** The stored codes of the row in hand, each block padded. */
function unpackRow(layout: Layout, weight: WeightRows, out: Uint8Array | Uint16Array | Uint32Array): void {
  const { blocks, blockColumns, paddedBlock, columns, recode, decode } = layout;
  const { codes } = weight;
  if (decode.kind === "binary32") {
    if (weight.scheme.name === "f32" && blocks === 1) {
      out.set(codes);
      return;
    }
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
