import { bf16 as element } from "../bf16.js";
import type { Scheme } from "../scheme.js";
import { castRule } from "./cast.js";

export const bf16: Scheme = {
  name: "bf16",
  summary: "plain bfloat16",
  source: element.source,
  element,
  quantize: castRule,
};
