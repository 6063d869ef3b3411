import { registry } from "../../registry.js";
import type { ActivationMethod } from "./activation.js";
import { dynamic } from "./dynamic.js";
import { staticRange } from "./static.js";

export const activationMethods = registry<ActivationMethod>("activation method", [dynamic, staticRange]);
