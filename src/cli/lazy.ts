/** Commands one by one: a command line that names one loads that command alone, which is most of what starting takes. */
import type { Command } from "./command.js";

const loaders: Readonly<Record<string, () => Promise<Readonly<Record<string, unknown>>>>> = {
  inspect: () => import("./commands/inspect.js"),
  plan: () => import("./commands/plan.js"),
  quantize: () => import("./commands/quantize.js"),
  eval: () => import("./commands/eval.js"),
  run: () => import("./commands/run.js"),
  embed: () => import("./commands/embed.js"),
  tokenize: () => import("./commands/tokenize.js"),
  schemes: () => import("./commands/schemes.js"),
  methods: () => import("./commands/methods.js"),
  imatrix: () => import("./commands/imatrix.js"),
  formats: () => import("./commands/formats.js"),
  cast: () => import("./commands/cast.js"),
  demo: () => import("./commands/demo.js"),
  bench: () => import("./commands/bench.js"),
  doctor: () => import("./commands/doctor.js"),
  explain: () => import("./commands/explain.js"),
};

/** The commands that a command line may mean: the one that its first word names, else all. */
export async function commandsFor(argv: readonly string[]): Promise<readonly Command[]> {
  const [word = ""] = argv;
  const exported = Object.hasOwn(loaders, word) ? Object.values(await loaders[word]()) : [];
  const named = exported.find(
    (one): one is Command => (one as Command).name === word && "arguments" in (one as Command),
  );
  return named ? [named] : (await import("./index.js")).commands.entries;
}
