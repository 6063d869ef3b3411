import { registry } from "../registry.js";
import type { QuantizationMethod } from "./method.js";
import { rtn } from "./rtn.js";

export const methods = registry<QuantizationMethod>("method", [rtn]);
