import { UnsupportedError } from "../errors.js";
import type { DecoderConfig, Rope, WeightGraph } from "../models/index.js";
import { Changes } from "./fold.js";
import { demandWhole, type FoldJob, fold } from "./transform.js";

/**
 * Key channels in order of size, so that a cache that rounds neighbours together rounds like with like. Rotary positions
 * allow two moves: whole pairs in another order, one order for all heads because they share one table of frequencies,
 * which moves along as the divisors of `rope.factors`; and in each head a quarter turn of a pair, (a, b) to (b, -a), which
 * commutes with every other rotation of it. The largest pairs come first, and in each the larger element. Queries move as
 * keys do, so scores stay.
 *
 * Sizes are those of the weights for normed inputs of equal channels: |w_c gains|^2 + b_c^2. GGUF holds the divisors as
 * `rope_freqs.weight`, config.json as rope type "longrope" whose long and short factors are the same.
 */
export const ksort = fold({
  name: "ksort",
  summary:
    "key channels sorted by size, rotary pairs and their frequencies together, for caches that round neighbours together",
  source:
    "the channel reordering of SKVQ, Duanmu et al. 2024, arXiv 2405.06219, section 3.2, folded into weights and rotary table",
  options: {
    pairs: { kind: "switch", summary: "sort the pairs of all heads by size", default: true },
    turns: { kind: "switch", summary: "in each head let the larger element of a pair come first", default: true },
  },
  async fold(job, { pairs, turns }) {
    demandWhole("ksort", job);
    const { name, parts } = job.architecture;
    const { graph } = parts;
    const { rope, headSize } = job.config as Partial<DecoderConfig> & FoldJob["config"];
    if (!graph || !rope) throw unsorted(name, "they have no rotary positions");
    if (rope.factors?.every((factor, _, all) => factor === all[0] && factor !== 1)) {
      throw unsorted(
        name,
        "linear scaling of positions is kept as one number, and divisors beside it would count twice",
      );
    }
    const changes = new Changes(job.read);
    const sizes = await keySizes(job, graph);
    const order = pairs ? pairOrder(sizes, headSize) : identity(headSize / 2);
    sizes.forEach((layerSizes, layer) => {
      moveKeys(job, graph, changes, layer, order, turns ? layerSizes : undefined);
    });
    if (!pairs) return { weights: changes.weights() };
    const factors = movedFactors(rope, headSize, order);
    const weights = new Map(changes.weights()).set("ropeFactors", async () => factors);
    return { config: { rope: { ...rope, factors } }, weights };
  },
});

const unsorted = (name: string, why: string) =>
  new UnsupportedError(`the keys of this ${name} model cannot be sorted`, { kind: "unsupported-feature", why });

const identity = (length: number) => Array.from({ length }, (_, i) => i);

/** E k_c^2 for every key channel of every layer, inputs normed and their channels alike. */
async function keySizes({ architecture, config, has, read }: FoldJob, graph: WeightGraph): Promise<Float64Array[]> {
  const { key } = graph.attention;
  const gains = architecture.parts.linears(config).find(({ roles }) => roles.includes(key))?.producer?.role ?? "";
  const layers: Float64Array[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    const at = (role: string) => `layers.${layer}.${role}`;
    const [weight, gain] = [await read(at(key)), await read(at(gains))];
    const bias = has(`${at(key)}.bias`) ? await read(`${at(key)}.bias`) : undefined;
    const sizes = new Float64Array(config.kvHeads * config.headSize);
    weight.forEach((w, i) => {
      sizes[Math.floor(i / config.width)] += (w * gain[i % config.width]) ** 2;
    });
    layers.push(bias ? sizes.map((size, c) => size + bias[c] ** 2) : sizes);
  }
  return layers;
}

/** Pairs by falling size, the sizes of each head taken relative to its mean. */
function pairOrder(layers: readonly Float64Array[], headSize: number): number[] {
  const half = headSize / 2;
  const total = new Float64Array(half);
  for (const sizes of layers) {
    for (let head = 0; head < sizes.length; head += headSize) {
      const mean = sizes.subarray(head, head + headSize).reduce((a, b) => a + b, 0) / headSize || 1;
      for (let i = 0; i < headSize; i++) total[i % half] += sizes[head + i] / mean;
    }
  }
  return identity(half).sort((a, b) => total[b] - total[a] || a - b);
}

/** Rows of keys and queries in their new places; `sizes` say which pairs take a quarter turn. */
function moveKeys(
  { config, has }: FoldJob,
  graph: WeightGraph,
  changes: Changes,
  layer: number,
  order: readonly number[],
  sizes: Float64Array | undefined,
): void {
  const { headSize, heads, kvHeads, width } = config;
  const half = headSize / 2;
  const turned = (kvHead: number, pair: number) =>
    sizes !== undefined && sizes[kvHead * headSize + half + pair] > sizes[kvHead * headSize + pair];
  const mover = (count: number, columns: number) => (values: Float32Array) => {
    const out = new Float32Array(values.length);
    for (let row = 0; row < count * headSize; row++) {
      const [head, inside] = [Math.floor(row / headSize), row % headSize];
      const [second, pair] = [inside >= half, order[inside % half]];
      const turn = turned(Math.floor((head * kvHeads) / count), pair);
      const from = (head * headSize + pair + (second !== turn ? half : 0)) * columns;
      const sign = turn && second ? -1 : 1;
      for (let j = 0; j < columns; j++) out[row * columns + j] = sign * values[from + j];
    }
    return out;
  };
  for (const [role, count] of [
    [`layers.${layer}.${graph.attention.query}`, heads],
    [`layers.${layer}.${graph.attention.key}`, kvHeads],
  ] as const) {
    changes.add(role, mover(count, width));
    if (has(`${role}.bias`)) changes.add(`${role}.bias`, mover(count, 1));
  }
}

/** Divisors with which place i turns as pair order[i] did. */
function movedFactors({ base, factors }: Rope, headSize: number, order: readonly number[]): Float32Array {
  return Float32Array.from(order, (pair, i) => base ** ((2 * (pair - i)) / headSize) * (factors?.[pair] ?? 1));
}
