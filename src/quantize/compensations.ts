import { registry } from "../registry.js";
import type { Compensation } from "./compensation.js";
import { lorc } from "./lorc.js";

export const compensations = registry<Compensation>("compensation", [lorc]);
