import { registry } from "../registry.js";
import type { Command } from "./command.js";
import { bench } from "./commands/bench.js";
import { cast } from "./commands/cast.js";
import { demo } from "./commands/demo.js";
import { doctor } from "./commands/doctor.js";
import { embed } from "./commands/embed.js";
import { evalCommand } from "./commands/eval.js";
import { explain } from "./commands/explain.js";
import { formats } from "./commands/formats.js";
import { imatrix } from "./commands/imatrix.js";
import { inspect } from "./commands/inspect.js";
import { methods } from "./commands/methods.js";
import { plan } from "./commands/plan.js";
import { quantize } from "./commands/quantize.js";
import { run } from "./commands/run.js";
import { schemes } from "./commands/schemes.js";
import { tokenize } from "./commands/tokenize.js";

export const commands = registry<Command>("command", [
  inspect,
  plan,
  quantize,
  evalCommand,
  run,
  embed,
  tokenize,
  schemes,
  methods,
  imatrix,
  formats,
  cast,
  bench,
  demo,
  doctor,
  explain,
]);
