/** Which tensor of the output comes from where and in which scheme, decided before any data is read. */
import type { Checkpoint, Container, TensorEntry, TensorPlan } from "../checkpoints/checkpoint.js";
import { InputError, UnsupportedError } from "../errors.js";
import { schemes } from "../formats/index.js";
import type { Scheme } from "../formats/scheme.js";
import { type Architecture, findWeight, type ModelConfig, nameIn, type WeightSpec } from "../models/index.js";
import { checkLayerMethods } from "./layer-methods.js";
import { EVERYTHING, type Quantizer, type ReadRecipe } from "./read-recipe.js";
import type { RecipeStep } from "./recipe.js";

/** Tensors whose name (in the output or by role) matches `pattern` get `scheme`; the first override that fits wins. */
export interface Override {
  readonly pattern: RegExp;
  readonly scheme: Scheme;
}

export interface PlannedTensor extends TensorPlan {
  /** The weight's place in the architecture; absent for a tensor that is copied without being understood. */
  readonly spec?: WeightSpec;
  /** How a matrix is quantized; absent for what stays as it is. */
  readonly quantizer?: Quantizer;
  /** Where the data comes from; absent for numbers that the configuration implies (rope divisors). */
  readonly source?: TensorEntry;
}

export interface PlanOptions {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly config: ModelConfig;
  readonly container: Container;
  readonly recipe: ReadRecipe;
}

/**
 * The output's tensors in order. A matrix (embedding and head included) gets the scheme of the recipe's first step that fits
 * its name or role, and stays in its own if none does. Vectors and tables stay as they are, but f32 in GGUF, as llama.cpp wants them,
 * and where a transform may change them. An InputError lists the tensors that the container cannot hold.
 */
export function planTensors(options: PlanOptions): readonly PlannedTensor[] {
  const { checkpoint, architecture, config, container } = options;
  checkLayerMethods(options.recipe, architecture);
  const specs = architecture.weights(config);
  const known = specs.flatMap((spec) => plannedWeight(options, spec));
  const names = new Set(specs.map((spec) => nameIn(checkpoint.container, spec)));
  const others = checkpoint.tensors.filter(({ name }) => !names.has(name) && !architecture.isSuperfluous(name, config));
  const planned = [...known, ...others.map((tensor) => copied(options, tensor))];
  checkPatterns(options, known);
  const misfits = planned.flatMap((tensor) => {
    const fits = container.canHold(tensor.scheme, tensor.shape);
    return fits === true ? [] : [{ tensor, why: fits }];
  });
  if (misfits.length > 0) {
    const [{ tensor, why }] = misfits;
    const more = misfits.length > 1 ? ` and ${misfits.length - 1} more` : "";
    throw new UnsupportedError(`${container.name} cannot hold "${tensor.name}"${more} as ${tensor.scheme.name}`, {
      kind: "scheme-does-not-fit",
      where: `${checkpoint.path}, shape [${tensor.shape}]`,
      why,
      try: `another scheme, a folder as output, or --tensor-type '${escaped(tensor.name)}=f16' for such tensors`,
    });
  }
  return planned;
}

/** An InputError for a step that is meant for some tensors and takes none. */
function checkPatterns({ recipe, architecture, config }: PlanOptions, all: readonly PlannedTensor[]) {
  const { quantizers, transforms, activations, compensations, json } = recipe;
  const matrices = all.filter(({ spec, shape }) => spec && shape.length === 2 && !spec.table);
  const wrong = (step: RecipeStep, why: string, advice: string) =>
    new InputError(`step ${json.steps.indexOf(step) + 1} of the recipe takes no tensor`, {
      kind: "wrong-recipe",
      where: JSON.stringify(step),
      why,
      try: advice,
    });
  const roles = new Set(all.map(({ spec }) => spec?.role));
  const untied = "tied" in config && config.tied ? architecture.weights({ ...config, tied: false }) : [];
  const tied = untied.filter(({ role, shape }) => shape.length === 2 && !roles.has(role));
  for (const step of [...quantizers, ...transforms, ...activations, ...compensations]) {
    const fits = (one: string | undefined) => one !== undefined && step.pattern.test(one);
    if (matrices.some(({ name, spec }) => fits(name) || fits(spec?.role))) continue;
    const why = `no matrix of this model has a name or role that fits ${step.pattern.source}`;
    if (tied.some(({ role, names }) => [role, ...Object.values(names)].some(fits))) {
      throw wrong(step.json, `${why}: its head is its embedding, used a second time`, 'the pattern "embedding"');
    }
    const { name, spec } = matrices[matrices.length - 1];
    throw wrong(step.json, why, `bitloom inspect lists names; "${name}" has the role "${spec?.role}"`);
  }
  const first = quantizers.find(({ pattern }) => pattern.source === EVERYTHING);
  for (const step of quantizers) {
    if (step === first || matrices.some(({ quantizer }) => quantizer === step)) continue;
    throw wrong(
      step.json,
      "steps before it take all tensors that it fits",
      "put it before them: the first that fits wins",
    );
  }
}

function plannedWeight(options: PlanOptions, spec: WeightSpec): PlannedTensor[] {
  const { checkpoint, container, recipe } = options;
  const name = nameIn(container.name, spec);
  if (name === undefined) return [];
  const source = findWeight(checkpoint, spec);
  if (!source) {
    const implied = spec.implied && nameIn(checkpoint.container, spec) === undefined;
    return implied ? [{ name, spec, shape: spec.shape, scheme: schemes.get("f32") }] : [];
  }
  const own = source.scheme as Scheme;
  if (spec.shape.length === 1 || spec.table) {
    const wide = container.name === "gguf" || recipe.transforms.length > 0;
    return [{ name, spec, source, shape: spec.shape, scheme: wide ? schemes.get("f32") : own }];
  }
  const quantizer = recipe.quantizers.find(({ pattern }) => pattern.test(name) || pattern.test(spec.role));
  return [{ name, spec, source, shape: spec.shape, scheme: quantizer?.scheme ?? own, quantizer }];
}

/** A tensor that the architecture does not know goes through unchanged, which only its own container can promise. */
function copied({ checkpoint, architecture, container }: PlanOptions, tensor: TensorEntry): PlannedTensor {
  if (container.name === checkpoint.container && tensor.scheme) {
    return { name: tensor.name, source: tensor, shape: tensor.shape, scheme: tensor.scheme };
  }
  const why = tensor.scheme
    ? `architecture ${architecture.name} does not know it, so its name in ${container.name} is unknown`
    : `its type ${tensor.type} cannot be read`;
  throw new UnsupportedError(`tensor "${tensor.name}" cannot be carried over`, {
    kind: "wrong-dtype",
    where: `${tensor.file}, offset ${tensor.offset}`,
    why,
  });
}

const escaped = (name: string) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Reads "PATTERN=SCHEME", as `--tensor-type` takes it. */
export function parseOverride(text: string): Override {
  const cut = text.lastIndexOf("=");
  if (cut < 1) {
    throw new InputError(`"${text}" is not PATTERN=SCHEME`, {
      kind: "value-out-of-range",
      try: "for example 'embed=q8_0'",
    });
  }
  try {
    return { pattern: new RegExp(text.slice(0, cut)), scheme: schemes.get(text.slice(cut + 1)) };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new InputError(`"${text.slice(0, cut)}" is not a regular expression`, {
      kind: "value-out-of-range",
      why: error.message,
      cause: error,
    });
  }
}
