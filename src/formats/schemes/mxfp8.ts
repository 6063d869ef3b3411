import { e4m3fn } from "../e4m3fn.js";
import { mxScheme } from "./mx.js";

export const mxfp8 = mxScheme({
  name: "mxfp8",
  aliases: ["mxfp8-e4m3"],
  element: e4m3fn,
  summary: "MXFP8: e4m3fn, power-of-two scale for 32",
});

export const mxfp8_2d = mxScheme({
  name: "mxfp8-2d",
  element: e4m3fn,
  rows: 32,
  summary: "MXFP8 whose scales hold for 32 x 32 tiles",
});
