/**
 * Weights as ONNX Runtime's MatMulNBits operator holds them, by the rule of its own quantizer, operation for operation in
 * f32: intB-gG@onnx without and intB-gG-asym@onnx with a zero point, for 4 and 8 bits and blocks of 16, 32, 64, ... along
 * the row of a weight [outputs, inputs]. Planes hold the operator's own bytes where a row is whole blocks.
 */
import { f32 } from "../f32.js";
import { uint } from "../integers.js";
import { withSteps } from "../rule-steps.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { byGroup, finiteEncoder } from "./groups.js";
import { offsetInt } from "./super-blocks.js";

const { abs, fround, max, min, sign, floor } = Math;

/** C's roundf: nearest, ties away from zero. */
const roundAway = (x: number) => sign(x) * floor(abs(x) + 0.5);

/** The interval of a group, widened to hold 0. */
function rangeOf(values: Float32Array, start: number, end: number): [low: number, high: number] {
  let [low, high] = [0, 0];
  for (let i = start; i < end; i++) {
    low = min(low, values[i]);
    high = max(high, values[i]);
  }
  return [low, high];
}

/**
 * Symmetric: scale = extreme / -2^(bits-1), the negative one of equal extremes, zero point 2^(bits-1). Asymmetric: scale =
 * (high - low) / (2^bits - 1), zero point = round(-low / scale). code = clamp(round(x * (1 / scale) + zero point)), halves
 * away from zero. A block of zeros has scale 0; where 1 / scale overflows f32, zeros stay on the zero point.
 */
const onnxRule = (bits: number, asymmetric: boolean): SchemeRule =>
  withSteps(onnxGroups(bits, asymmetric), () => ({
    kind: "reciprocal",
    top: 2 ** bits - 1,
    ...(!asymmetric && { middle: 2 ** (bits - 1) }),
  }));

const onnxGroups = (bits: number, asymmetric: boolean): SchemeRule =>
  byGroup((scheme) => {
    const [top, middle] = [2 ** bits - 1, 2 ** (bits - 1)];
    const scaleCode = finiteEncoder(scheme.scale!.format, "block scale");
    return (group) => {
      const { values, codes, start, end } = group;
      const [low, high] = rangeOf(values, start, end);
      const range = asymmetric ? fround(high - low) : high > -low ? high : low;
      const scale = fround(range / (asymmetric ? top : -middle));
      const zero = !asymmetric ? middle : scale === 0 ? 0 : min(top, roundAway(fround(-low / scale)));
      const inverse = scale === 0 ? 0 : fround(1 / scale);
      for (let i = start, at = group.at; i < end; i++, at++) {
        const scaled = values[i] === 0 ? 0 : fround(values[i] * inverse);
        codes[at] = max(0, min(top, roundAway(fround(scaled + zero))));
      }
      group.scale = scaleCode(scale);
      group.offset = zero;
    };
  });

/** The scheme of a name without its "@onnx": int4-g32, int8-g128-asym. */
export function onnxScheme(base: string, source: string): Scheme | undefined {
  const match = /^int([48])-g(16|32|64|128|256|512|1024)(-asym)?$/.exec(base);
  if (!match) return undefined;
  const [bits, per, asymmetric] = [Number(match[1]), Number(match[2]), match[3] !== undefined];
  return {
    name: `${base}@onnx`,
    summary: `MatMulNBits: ${bits}-bit integer, f32 scale${asymmetric ? " and zero point" : ""} for ${per}`,
    source,
    element: asymmetric ? uint(bits) : offsetInt(bits, 2 ** (bits - 1)),
    scale: { format: f32, per },
    ...(asymmetric && { offset: { kind: "zeroPoint", format: uint(bits), per } as const }),
    quantize: onnxRule(bits, asymmetric),
  };
}
