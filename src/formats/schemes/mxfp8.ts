import { e4m3fn } from "../e4m3fn.js";
import { e8m0 } from "../e8m0.js";
import type { Scheme } from "../scheme.js";
import { mxRule } from "./mx.js";

export const mxfp8: Scheme = {
  name: "mxfp8",
  aliases: ["mxfp8-e4m3"],
  summary: "MXFP8: e4m3fn, power-of-two scale for 32",
  source: "OCP Microscaling Formats (MX) 1.0, section 6.3",
  element: e4m3fn,
  scale: { format: e8m0, per: 32 },
  quantize: mxRule(),
};
