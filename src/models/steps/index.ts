import { registry } from "../../registry.js";
import { hadamard } from "./hadamard.js";
import { round } from "./round.js";
import type { StepKind } from "./step.js";

export const stepKinds = registry<StepKind>("input step", [round, hadamard]);
