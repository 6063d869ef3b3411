/** From text to windows of ids, and from windows to what is known of every input of a layer. */
import { InputError } from "../errors.js";
import type { Buffer } from "../kernels/index.js";
import type { Architecture, HaltedText, LayerRunner, LayerWeights, LinearGroup, LoadedLayer } from "../models/index.js";
import type { DriftSum, OriginalPath } from "./drift.js";
import type { CalibrationSettings } from "./recipe.js";
import { type InputStatistics, type Needs, needsAtLeast, StatisticsSum } from "./statistics.js";

/**
 * Windows taken evenly over the ids; fewer than asked for if the text does not hold so many apart. InputError for a text
 * shorter than one window. `kind`: an encoder's windows begin at multiples of their length, because each is a text that is
 * closed by special ids (calibration-text.ts).
 */
export function calibrationWindows(
  ids: readonly number[],
  { windows, window }: CalibrationSettings,
  kind: Architecture["kind"],
): number[][] {
  const available = Math.floor(ids.length / window);
  if (available < 1) {
    const why = `it has ${ids.length} tokens, one window takes ${window}`;
    throw new InputError("the calibration text is too short", {
      kind: "text-too-short",
      why,
      try: "a longer text or a smaller window",
    });
  }
  const count = Math.min(windows, available);
  return Array.from({ length: count }, (_, i) => {
    const even = count === 1 ? 0 : Math.floor((i * (ids.length - window)) / (count - 1));
    const start = kind === "encoder" ? even - (even % window) : even;
    return ids.slice(start, start + window);
  });
}

/** What is being learned about one input, window by window. */
class Observation {
  private readonly sum: StatisticsSum;
  private readonly drift?: DriftSum;

  constructor(runner: LayerRunner, role: string, columns: number, needs: Needs, original?: OriginalPath) {
    this.sum = new StatisticsSum(runner.sumMoments(columns, needsAtLeast(needs, "hessian")));
    this.drift = original?.driftSum(runner, role, columns);
  }

  add(x: Buffer, tokens: number): void {
    this.sum.add(x, tokens);
    this.drift?.add(x.data().slice());
  }

  result(): InputStatistics {
    return { ...this.sum.result(), ...(this.drift && { drift: this.drift.result() }) };
  }
}

/** Observations by role, which begin with what is seen first. */
class Observations {
  private readonly runner: LayerRunner;
  private readonly needs: Needs;
  private readonly original: OriginalPath | undefined;
  private readonly made = new Map<string, Observation>();

  constructor(runner: LayerRunner, needs: Needs, original?: OriginalPath) {
    this.runner = runner;
    this.needs = needs;
    this.original = original;
  }

  add(role: string, x: Buffer, tokens: number): void {
    const { runner, needs, original, made } = this;
    const known = made.get(role) ?? new Observation(runner, role, x.length / tokens, needs, original);
    made.set(role, known);
    known.add(x, tokens);
  }

  results(): Map<string, InputStatistics> {
    return new Map([...this.made].map(([role, one]) => [role, one.result()]));
  }
}

/**
 * Runs a layer on all windows. Returns the hidden states after it and, for every group of linear maps, the statistics of their
 * input, under the group's first role. `original`: with the drift from there.
 */
export function observeLayer(
  runner: LayerRunner,
  loaded: LoadedLayer,
  hidden: readonly Float32Array[],
  groups: readonly LinearGroup[],
  needs: Needs,
  original?: OriginalPath,
): { readonly outputs: Float32Array[]; readonly statistics: ReadonlyMap<string, InputStatistics> } {
  const observed = new Observations(runner, needs, original);
  const firsts = new Set(groups.map(({ roles }) => roles[0]));
  const outputs = hidden.map((states) =>
    loaded.run(states, (role, x, tokens) => {
      if (firsts.has(role)) observed.add(role, x, tokens);
    }),
  );
  return { outputs, statistics: observed.results() };
}

/** Takes all windows through one stage of a layer; the statistics of the input of the group after it. */
export function observeStage(
  runner: LayerRunner,
  loaded: LoadedLayer,
  stage: number,
  texts: readonly HaltedText[],
  needs: Needs,
  original?: OriginalPath,
): InputStatistics {
  const observed = new Observations(runner, needs, original);
  for (const text of texts) loaded.runStage(stage, text, (role, x, tokens) => observed.add(role, x, tokens));
  const [statistics] = observed.results().values();
  return statistics;
}

/** Statistics of the head's input. `weights`: what stands before the head. */
export function observeHead(
  runner: LayerRunner,
  weights: LayerWeights,
  hidden: readonly Float32Array[],
  needs: Needs,
): InputStatistics {
  const observed = new Observation(runner, "head", runner.width, needs);
  for (const states of hidden) observed.add(runner.headInput(weights, states), states.length / runner.width);
  return observed.result();
}
