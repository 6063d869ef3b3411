/** From text to windows of ids, and from windows to what is known of every input of a layer. */
import { InputError } from "../errors.js";
import type { Architecture, LayerRunner, LayerWeights, LinearGroup, LoadedLayer } from "../models/index.js";
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

/**
 * Runs a layer on all windows. Returns the hidden states after it and, for every group of linear maps that `wanted` takes,
 * the statistics of their input, under the group's first role.
 */
export function observeLayer(
  runner: LayerRunner,
  loaded: LoadedLayer,
  hidden: readonly Float32Array[],
  groups: readonly LinearGroup[],
  needs: Needs,
): { readonly outputs: Float32Array[]; readonly statistics: ReadonlyMap<string, InputStatistics> } {
  const sums = new Map<string, StatisticsSum>();
  const firsts = new Set(groups.map(({ roles }) => roles[0]));
  const outputs = hidden.map((states) => {
    const inputs: { role: string; x: Float32Array; tokens: number }[] = [];
    const out = loaded.run(states, (role, input, tokens) => {
      if (firsts.has(role)) inputs.push({ role, x: input.slice(), tokens });
    });
    for (const { role, x, tokens } of inputs) addInput(runner, sums, role, x, tokens, needs);
    return out;
  });
  return { outputs, statistics: new Map([...sums].map(([role, sum]) => [role, sum.result()])) };
}

function addInput(
  runner: LayerRunner,
  sums: Map<string, StatisticsSum>,
  role: string,
  x: Float32Array,
  tokens: number,
  needs: Needs,
): void {
  const addGram = needsAtLeast(needs, "hessian") ? runner.addGram : undefined;
  const sum = sums.get(role) ?? new StatisticsSum(x.length / tokens, addGram);
  sums.set(role, sum);
  sum.add(x, tokens);
}

/** Statistics of the head's input. `weights`: what stands before the head. */
export function observeHead(
  runner: LayerRunner,
  weights: LayerWeights,
  hidden: readonly Float32Array[],
  needs: Needs,
): InputStatistics {
  const sums = new Map<string, StatisticsSum>();
  for (const states of hidden) {
    const x = runner.headInput(weights, states);
    addInput(runner, sums, "head", x, states.length / runner.width, needs);
  }
  return (sums.get("head") as StatisticsSum).result();
}
