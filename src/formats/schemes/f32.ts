import { f32 as element } from "../f32.js";
import type { Scheme } from "../scheme.js";
import { castRule } from "./cast.js";

export const f32: Scheme = {
  name: "f32",
  summary: "plain binary32",
  source: element.source,
  element,
  quantize: castRule,
};
