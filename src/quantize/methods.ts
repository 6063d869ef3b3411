import { registry } from "../registry.js";
import { adaround } from "./adaround.js";
import { autoround } from "./autoround.js";
import { clip } from "./clip.js";
import { gptq } from "./gptq.js";
import { hqq } from "./hqq.js";
import { imatrix } from "./imatrix.js";
import { llmFp4Weights } from "./llm-fp4.js";
import type { QuantizationMethod } from "./method.js";
import { mse } from "./mse.js";
import { rtn } from "./rtn.js";
import { zeroquantFp } from "./zeroquant-fp.js";

export const methods = registry<QuantizationMethod>("method", [
  rtn,
  mse,
  imatrix,
  clip,
  hqq,
  gptq,
  adaround,
  autoround,
  zeroquantFp,
  llmFp4Weights,
]);
