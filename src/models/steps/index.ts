import { registry } from "../../registry.js";
import { hadamard } from "./hadamard.js";
import { round } from "./round.js";
import { scale } from "./scale.js";
import { staticRound } from "./static.js";
import type { StepKind } from "./step.js";

export const stepKinds = registry<StepKind>("input step", [round, staticRound, scale, hadamard]);
