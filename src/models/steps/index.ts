import { registry } from "../../registry.js";
import { round } from "./round.js";
import type { StepKind } from "./step.js";

export const stepKinds = registry<StepKind>("input step", [round]);
