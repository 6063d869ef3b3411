/** What runs a model: options that every such command takes, and the model's life around a piece of work. */
import { readdir, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { schemes } from "../formats/index.js";
import {
  ACTIVATIONS as ACTIVATION_KINDS,
  type Activations,
  type Backend,
  type BackendInfo,
  backends,
  type Exactness,
} from "../kernels/index.js";
import {
  type CacheScheme,
  type Model,
  openEncoder,
  openModel,
  parseCacheScheme,
  type TextEncoder,
} from "../models/index.js";
import { modelPath } from "./model-path.js";
import { choice, integer, named, type Option } from "./option.js";
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

const isKind = (name: string): name is Activations => ACTIVATION_KINDS.some((kind) => kind === name);

/** How activations enter the products, for commands that run one model. */
export const ACTIVATIONS = choice(
  "--activations <kind>",
  "f32: as they are; int8: rounded by blocks, for integer and 4-bit float weights, about three times faster where the engine has relaxed SIMD; int8-rounded: likewise, and NF4, float8 and all other weights of at most 8 bits, rounded to int8; int7 to int1: fewer bits, at a cost in quality",
  ACTIVATION_KINDS,
  "f32",
);

/** The same, or any scheme that activations are rounded to before exact products: what it would cost in quality. */
export const ACTIVATIONS_OR_SCHEME: Option<string> = {
  ...ACTIVATIONS,
  description: `${ACTIVATIONS.description}; or a scheme (e4m3fn-row, mxfp8) that every input of a linear map is rounded to`,
  parse: (name) => (isKind(name) ? name : schemes.get(name.toLowerCase()).name),
};

/** How keys and values are held, for commands that run one model. */
export const CACHE: Option<CacheScheme | undefined> = {
  flags: "--cache <scheme>",
  description:
    "how keys and values are held: a scheme (f16, int8-g32, int4-g32-asym), or keys=SCHEME:AXIS,values=SCHEME:AXIS,window=N,rotate " +
    "with AXIS channel or token; default: what the file says, else f32",
  parse: parseCacheScheme,
};

/** How exactly f32 products are defined, for commands that run one model. */
export const EXACTNESS = choice<Exactness>(
  "--exactness <level>",
  "deterministic: the same bits on every machine; fast: multiply-adds may fuse, last bits differ",
  ["deterministic", "fast"],
  "deterministic",
);

interface EngineOptions {
  readonly threads: number;
  readonly backend: string;
  readonly exactness?: Exactness;
}

/** What computed, for the record: speeds compare only where this is the same. */
export interface Engine {
  readonly backend: string;
  readonly threads: number;
  /** Whether the bits are the same everywhere ("deterministic"). */
  readonly exactness: string;
  readonly features: readonly string[];
  /** What it had to do without. */
  readonly fallbacks: readonly string[];
}

export const engineSchema = closed({
  backend: string(),
  threads: count(),
  exactness: string(
    "deterministic: the same bits on every machine and number of threads; fast: the last bits may differ",
  ),
  features: list(string(), "features of the engine in use"),
  fallbacks: list(string(), "what it had to do without, and the effect"),
});

export function engineOf({ name, threads, exactness, features, fallbacks }: BackendInfo): Engine {
  return { backend: name, threads, exactness, features, fallbacks };
}

/** "wasm, simd128, 2 threads". `bitloom doctor` and `--json` also say what is missing. */
export function engineText({ backend, threads, features }: Engine): string {
  const used = features.filter((feature) => feature !== "threads");
  return [backend, ...used, `${threads} thread${threads === 1 ? "" : "s"}`].join(", ");
}

/** Bytes of the files under a path that hold tensors; 0 for what is not there, of which opening it will tell. */
async function fileBytes(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return found?.size ?? 0;
  const names = (await readdir(path)).filter((name) => name.endsWith(".safetensors"));
  return (await Promise.all(names.map((name) => fileBytes(join(path, name))))).reduce((sum, bytes) => sum + bytes, 0);
}

/** Memories for models of so many bytes in files: one as long as a quarter more, and a context, fits its 4 GB. */
export function memoriesFor(bytes: number): number {
  const held = 1.25 * bytes;
  return held < 0.9 * 2 ** 32 ? 1 : 1 + Math.ceil(held / 2 ** 32);
}

/** Runs `work` with a backend and disposes of it. `models` (MODELs of the command line) must all fit in at once. */
export async function withBackend<T>(
  { threads, backend, exactness }: EngineOptions,
  work: (backend: Backend) => Promise<T>,
  ...models: readonly string[]
): Promise<T> {
  const sizes = await Promise.all(models.map((model) => fileBytes(modelPath(model))));
  const memories = memoriesFor(sizes.reduce((sum, bytes) => sum + bytes, 0));
  const made = await backends.get(backend).create({ threads, exactness, memories });
  try {
    return await work(made);
  } finally {
    await made.dispose();
  }
}

/** Runs `work` with an open model. `argument` is a MODEL of the command line, `activations` one of ACTIVATIONS or a scheme. */
export async function withModel<T>(
  backend: Backend,
  argument: string,
  work: (model: Model) => Promise<T>,
  activations = "f32",
  cache?: CacheScheme,
): Promise<T> {
  const model = await openModel(modelPath(argument), { backend, cache, ...entering(activations) });
  try {
    return await work(model);
  } finally {
    model.dispose();
  }
}

/** The same for an open encoder. */
export async function withEncoder<T>(
  backend: Backend,
  argument: string,
  work: (encoder: TextEncoder) => Promise<T>,
  activations = "f32",
): Promise<T> {
  const encoder = await openEncoder(modelPath(argument), { backend, ...entering(activations) });
  try {
    return await work(encoder);
  } finally {
    encoder.dispose();
  }
}

const entering = (activations: string) =>
  isKind(activations) ? { activations } : { inputSteps: [{ kind: "round", scheme: activations }] };
