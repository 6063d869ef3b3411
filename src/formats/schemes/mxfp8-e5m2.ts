import { e5m2 } from "../e5m2.js";
import { mxScheme } from "./mx.js";

export const mxfp8_e5m2 = mxScheme({
  name: "mxfp8-e5m2",
  element: e5m2,
  summary: "MXFP8: e5m2, power-of-two scale for 32",
});
