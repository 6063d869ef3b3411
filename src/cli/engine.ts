/** What runs a model: options that every such command takes, and the model's life around a piece of work. */
import { availableParallelism } from "node:os";
import { type Backend, type BackendInfo, backends } from "../kernels/index.js";
import { type Model, openModel } from "../models/index.js";
import type { Context } from "./command.js";
import { modelPath } from "./model-path.js";
import { integer, named } from "./option.js";
import { closed, count, list, string } from "./schema.js";

export const ENGINE_OPTIONS = {
  threads: integer("--threads <n>", "threads to compute with", {
    min: 1,
    max: 256,
    default: availableParallelism(),
    defaultText: "all cores",
  }),
  backend: named("--backend <name>", `how to compute (${backends.names.join(", ")})`, backends, backends.names[0]),
};

interface EngineOptions {
  readonly threads: number;
  readonly backend: string;
}

/** What computed, for the record: a result can only be compared with one that says this too. */
export const engineSchema = closed({
  backend: string(),
  threads: count(),
  features: list(string(), "features of the engine in use"),
});

export type Engine = { backend: string; threads: number; features: readonly string[] };
export const engineOf = ({ name, threads, features }: BackendInfo): Engine => ({ backend: name, threads, features });

/** Runs `work` with a backend and disposes of it; says what the backend had to do without. */
export async function withBackend<T>(
  context: Context,
  { threads, backend }: EngineOptions,
  work: (backend: Backend) => Promise<T>,
): Promise<T> {
  const made = await backends.get(backend).create({ threads });
  try {
    for (const fallback of made.info.fallbacks) context.warn(fallback);
    return await work(made);
  } finally {
    await made.dispose();
  }
}

/** Runs `work` with an open model. `argument` is a MODEL of the command line. */
export async function withModel<T>(backend: Backend, argument: string, work: (model: Model) => Promise<T>): Promise<T> {
  const model = await openModel(modelPath(argument), { backend });
  try {
    return await work(model);
  } finally {
    model.dispose();
  }
}
