import { InputError } from "../../errors.js";
import type { Exactness } from "../../kernels/index.js";
import { registry } from "../../registry.js";
import { decode } from "../bench/decode.js";
import { kernels } from "../bench/kernels.js";
import { plan } from "../bench/plan.js";
import { quality } from "../bench/quality.js";
import { mergedOptions, ownOptions, type Verb } from "../bench/verb.js";
import { command } from "../command.js";
import { type Engine, engineOf, engineSchema, withBackend } from "../engine.js";
import { closed } from "../schema.js";

const verbs = registry<Verb>("measurement", [kernels, decode, plan, quality]);
const options = mergedOptions(verbs.entries);

interface Result {
  readonly engine: Engine;
}

function verbOf(what: string | undefined): Verb {
  if (what !== undefined) return verbs.get(what);
  throw new InputError("bench needs to know what", {
    kind: "missing-argument",
    why: `wanted ${verbs.names.join(", ")}`,
    try: "bitloom bench decode demo",
  });
}

/** The verb whose result this is: the only one with all of its fields. */
const makerOf = ({ engine: _, ...own }: Result) =>
  verbs.entries.find(({ fields }) => Object.keys(own).every((key) => key in fields));

export const bench = command({
  name: "bench",
  summary: "measure kernels and decoding; explain plans",
  description: `${verbs.entries.map(({ usage, description }) => `${usage}: ${description}`).join(". ")}.`,
  arguments: [{ name: "WHAT", description: verbs.entries.map(({ usage }) => usage).join("; "), count: "any" }],
  options,
  examples: verbs.entries.map(({ example }) => example),
  output: closed({ engine: engineSchema }, Object.assign({}, ...verbs.entries.map(({ fields }) => fields))),
  async run(context, [what, ...names], chosen): Promise<Result> {
    const verb = verbOf(what);
    const own = ownOptions(verb, chosen, options);
    const {
      threads = verb.threads,
      backend,
      exactness,
    } = chosen as {
      readonly threads?: number;
      readonly backend: string;
      readonly exactness: Exactness;
    };
    return withBackend(
      { threads, backend, exactness },
      async (made) => ({ ...(await verb.run({ context, backend: made }, names, own)), engine: engineOf(made.info) }),
      ...(verb.loads?.(names) ?? []),
    );
  },
  render: (result, style) => makerOf(result)?.render(result, style) ?? "",
});
