import { registry } from "../../registry.js";
import type { ActivationMethod } from "./activation.js";
import { dynamic } from "./dynamic.js";
import { llmFp4 } from "./llm-fp4.js";
import { llmInt8 } from "./llm-int8.js";
import { staticRange } from "./static.js";

export const activationMethods = registry<ActivationMethod>("activation method", [
  dynamic,
  staticRange,
  llmInt8,
  llmFp4,
]);
