import { f16 as element } from "../f16.js";
import type { Scheme } from "../scheme.js";
import { castRule } from "./cast.js";

export const f16: Scheme = {
  name: "f16",
  summary: "plain binary16, values beyond 65504 are an error",
  source: element.source,
  element,
  quantize: castRule,
};
