import { e5m2 } from "../e5m2.js";
import { e8m0 } from "../e8m0.js";
import type { Scheme } from "../scheme.js";
import { mxRule } from "./mx.js";

export const mxfp8_e5m2: Scheme = {
  name: "mxfp8-e5m2",
  summary: "MXFP8: e5m2, power-of-two scale for 32",
  source: "OCP Microscaling Formats (MX) 1.0, section 6.3",
  element: e5m2,
  scale: { format: e8m0, per: 32 },
  quantize: mxRule(),
};
