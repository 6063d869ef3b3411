import { registry } from "../registry.js";
import { awq } from "./awq.js";
import { hadamard } from "./hadamard.js";
import { ksort } from "./ksort.js";
import { osplus } from "./osplus.js";
import { rotate } from "./rotate.js";
import { smoothquant } from "./smoothquant.js";
import type { Transform } from "./transform.js";

export const transforms = registry<Transform>("transform", [awq, smoothquant, osplus, rotate, hadamard, ksort]);
