import { registry } from "../registry.js";
import { awq } from "./awq.js";
import { smoothquant } from "./smoothquant.js";
import type { Transform } from "./transform.js";

export const transforms = registry<Transform>("transform", [awq, smoothquant]);
