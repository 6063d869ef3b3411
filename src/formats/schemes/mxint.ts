/**
 * MX integers: fixed point with one bit left of the point, so that the largest magnitude lies just below 2. The most
 * negative code is not used, which keeps the grid symmetric (OCP MX 1.0 leaves this open).
 */
import { type IntegerFormat, integer } from "../format.js";
import { mxScheme } from "./mx.js";

/** sign, 1 integer bit, bits - 2 fraction bits; symmetric. */
export const mxintElement = (bits: number): IntegerFormat =>
  integer({
    name: `mxint${bits}`,
    bits,
    signed: true,
    min: 1 - 2 ** (bits - 1),
    max: 2 ** (bits - 1) - 1,
    fractionBits: bits - 2,
    summary: `fixed point of ${bits} bits, ${bits - 2} of them right of the point, symmetric`,
    source: "OCP Microscaling Formats (MX) 1.0, section 5.3.4",
  });

const mxint = (bits: number) =>
  mxScheme({
    name: `mxint${bits}`,
    element: mxintElement(bits),
    summary: `MXINT${bits}: ${bits}-bit fixed point, power-of-two scale for 32`,
  });

export const mxint8 = mxint(8);
export const mxint6 = mxint(6);
export const mxint4 = mxint(4);
