import { e2m3 } from "../e2m3.js";
import { e3m2 } from "../e3m2.js";
import { mxScheme } from "./mx.js";

export const mxfp6_e2m3 = mxScheme({
  name: "mxfp6-e2m3",
  aliases: ["mxfp6"],
  element: e2m3,
  summary: "MXFP6: e2m3, power-of-two scale for 32",
});

export const mxfp6_e3m2 = mxScheme({
  name: "mxfp6-e3m2",
  element: e3m2,
  summary: "MXFP6: e3m2, power-of-two scale for 32",
});
