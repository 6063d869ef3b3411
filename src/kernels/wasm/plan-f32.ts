/** How weights that meet f32 activations are decoded: what a format's codes and scales allow, found out by looking at them. */
import { bf16 } from "../../formats/bf16.js";
import type { NumberFormat } from "../../formats/format.js";
import { decodeTableF32 } from "../../formats/table.js";
import type { WeightRows } from "../weight-rows.js";
import { storedBits } from "./cells.js";
import type { Plan } from "./layout.js";

export function planF32(weight: WeightRows): Plan {
  const format = weight.scheme.element;
  const expanded = (why: string): Plan => ({ decode: { kind: "binary32", bits: 32 }, factor: 1, why });
  if (format.bits > 16) return expanded("held as f32");
  if (format.name === bf16.name) {
    return { decode: { kind: "bfloat", bits: 16 }, factor: 1, why: "bf16 is the upper half of f32" };
  }
  const values = decodeTableF32(format);
  if (format.bits <= 4) {
    const bits = format.bits as 1 | 2 | 3 | 4;
    const planes = new Uint32Array(values.buffer, 0, values.length).some((word) => (word & 0xffff) !== 0) ? 4 : 2;
    const why = `${bits}-bit codes: byte shuffles of ${planes} tables of 16 give the f32 values`;
    return { decode: { kind: "lookup", bits, values: [...values] }, factor: 1, why };
  }
  const direct = planInteger(format, values) ?? planMinifloat(format, weight, values);
  if (direct && scalesStayExact(weight, direct.factor)) return direct;
  const reason = direct
    ? "a scale times the format's power of two is not exact"
    : "no bit trick fits the format or its codes";
  if (format.bits > 8) return expanded(`expanded to f32: ${reason}`);
  return {
    decode: { kind: "table", bits: 8, values: [...values] },
    factor: 1,
    why: `values by table loads: ${reason}`,
  };
}

/** Integers and fixed point of 5 to 16 bits: biased in fewer than 8 bits, else in two's complement or unsigned. */
function planInteger(format: NumberFormat, values: Float32Array): Plan | undefined {
  if (format.kind !== "integer") return undefined;
  const bits = (format.bits <= 8 ? storedBits(format.bits) : 16) as 5 | 6 | 8 | 16;
  const factor = 2 ** -(format.fractionBits ?? 0);
  const integers = Array.from(values, (v) => v / factor);
  const low = Math.min(...integers);
  const signed = low < 0;
  const limit = 2 ** (Math.max(8, bits) - 1);
  // 16-bit kernels widen with sign.
  if (bits === 16 && !signed) return undefined;
  if (integers.some((q) => q < -limit || q >= (signed ? limit : 2 * limit))) return undefined;
  const bias = bits < 8 && signed ? -low : 0;
  const recode = bits === 16 ? Uint16Array.from(integers) : Uint8Array.from(integers, (q) => q + bias);
  const why = `${bits}-bit integers: widened and converted`;
  return { decode: { kind: "integer", bits, signed, bias }, factor, recode, why };
}

/** Sign, exponent, significand with subnormals, all codes in use finite: bit moves decode it. */
function planMinifloat(format: NumberFormat, weight: WeightRows, values: Float32Array): Plan | undefined {
  if (format.kind !== "minifloat" || !format.signed || !format.subnormals) return undefined;
  const { exponentBits, significandBits, bias } = format;
  if (exponentBits < 1 || exponentBits > 8 || usesNonFinite(weight, values)) return undefined;
  const bits = (format.bits <= 8 ? storedBits(format.bits) : 16) as 5 | 6 | 8 | 16;
  const aligned = Array.from(values, (_, code) => code << (bits - format.bits));
  const recode = bits === 16 ? Uint16Array.from(aligned) : Uint8Array.from(aligned);
  const why = `${format.bits}-bit floats: bits moved to where f32 has them`;
  return { decode: { kind: "minifloat", bits, exponentBits, significandBits }, factor: 2 ** (127 - bias), recode, why };
}

function usesNonFinite(weight: WeightRows, values: Float32Array): boolean {
  const odd = Uint8Array.from(values, (v) => (Number.isFinite(v) ? 0 : 1));
  if (!odd.includes(1)) return false;
  for (let row = 0; row < weight.rows; row++) {
    weight.read(row);
    if (weight.codes.some((code) => odd[code] === 1)) return true;
  }
  return false;
}

/** Whether multiplying every scale (and dividing every zero point) with the factor is exact. */
function scalesStayExact(weight: WeightRows, factor: number): boolean {
  if (factor === 1) return true;
  const exact = (s: number) => Math.fround(s * factor) / factor === s;
  const zeroPoints = weight.scheme.offset?.kind === "zeroPoint";
  for (let row = 0; row < weight.rows && (weight.scales || zeroPoints); row++) {
    weight.readShared(row);
    if (weight.scales && !weight.scales.every(exact)) return false;
    if (zeroPoints && !weight.offsets?.every((z) => Math.fround(z / factor) * factor === z)) return false;
  }
  return true;
}
