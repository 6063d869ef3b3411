import { type PlanRow, planModel, planScheme } from "../../bench/index.js";
import { openCheckpoint } from "../../checkpoints/index.js";
import { InputError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import { ACTIVATIONS } from "../engine.js";
import { modelPath } from "../model-path.js";
import { dimensions } from "../numbers.js";
import { type Option, optionalName } from "../option.js";
import { closed, count, list, number, string } from "../schema.js";
import { left, right, table } from "../table.js";
import { exactly, oneModel, verb } from "./verb.js";

interface Planned {
  readonly plans: readonly PlanRow[];
}

type Shape = readonly [rows: number, columns: number];

const SHAPE: Option<Shape | undefined> = {
  flags: "--shape <RxC>",
  description: "with --scheme: outputs x inputs of the matrix (default: 2048x2048)",
  parse(given) {
    const found = /^(\d+)x(\d+)$/.exec(given);
    if (found && Number(found[1]) > 0 && Number(found[2]) > 0) return [Number(found[1]), Number(found[2])];
    throw new InputError(`--shape does not take "${given}"`, {
      kind: "value-out-of-range",
      why: "wanted outputs x inputs, such as 2048x2048",
    });
  },
};

export const plan = verb({
  name: "plan",
  usage: "plan MODEL, or plan --scheme NAME",
  description: "how each weight is held and multiplied, and why",
  example: "bitloom bench plan --scheme nvfp4 --shape 2048x576",
  options: {
    scheme: optionalName("--scheme <name>", "of this scheme in place of a model", schemes),
    shape: SHAPE,
    activations: ACTIVATIONS,
  },
  threads: 1,
  fields: {
    plans: list(
      closed({
        ...{ role: string(), count: count(), scheme: string(), shape: list(count()) },
        ...{ bytes: count("held for one"), bitsPerWeight: number(), plan: string() },
      }),
    ),
  },
  async run({ backend }, names, { scheme, shape, activations }): Promise<Planned> {
    if (scheme !== undefined) {
      exactly(0, names, "plan --scheme", "bitloom bench plan --scheme q4_0");
      const [rows, columns] = shape ?? [2048, 2048];
      return { plans: [planScheme(backend, scheme, rows, columns, activations)] };
    }
    if (shape !== undefined) {
      throw new InputError("--shape is for --scheme", { kind: "options-disagree", why: "a model has its own shapes" });
    }
    const checkpoint = await openCheckpoint(modelPath(oneModel(names, "plan", "bitloom bench plan demo")));
    try {
      return { plans: await planModel(backend, checkpoint, activations) };
    } finally {
      await checkpoint.close();
    }
  },
  render: ({ plans }, style) =>
    table(
      [left("weight"), right("count"), left("scheme"), right("shape"), right("bits held"), left("plan")],
      plans.map((row) => [
        ...[row.role, String(row.count), row.scheme, dimensions(row.shape), row.bitsPerWeight.toFixed(2), row.plan],
      ]),
      style.bold,
    ),
});
