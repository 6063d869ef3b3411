import { UnsupportedError } from "../errors.js";
import type { WeightGraph } from "../models/index.js";
import { choice } from "../options.js";
import {
  Changes,
  hadamardRotation,
  largestBlock,
  mapColumns,
  type RowMap,
  randomRotation,
  scaleColumns,
  signsFor,
  streamOf,
  turnValues,
} from "./fold.js";
import { demandWhole, type FoldJob, fold } from "./transform.js";

/**
 * The stream between layers turned by one orthogonal matrix, and the values of every head by another: channels that stand
 * out, the bane of rounding, are spread over all. RMSNorm sees lengths alone, so once its gains are in the weights that
 * follow, what writes the stream may turn it and what reads it turn it back. Nothing is left to do at run time, so the
 * file works everywhere; but a head that was the embedding is that no longer, unless the last norm's gains are all alike,
 * and gets a matrix of its own.
 */
export const rotate = fold({
  name: "rotate",
  summary:
    "the residual stream and the values of every head rotated, so that no channel stands out; folded into the weights",
  source: "Ashkboos et al. 2024 (QuaRot), arXiv 2404.00456, sections 3 and 4, its offline part",
  options: {
    stream: { kind: "switch", summary: "rotate the residual stream", default: true },
    values: { kind: "switch", summary: "rotate the values of every head", default: true },
    kind: choice(
      "Hadamard matrices with random signs, or any orthogonal matrix, which takes longer to multiply with",
      ["hadamard", "random"],
      "hadamard",
    ),
  },
  async fold(job, { stream, values, kind }) {
    demandWhole("rotate", job);
    const { graph } = job.architecture.parts;
    if (!graph) {
      throw new UnsupportedError(`${job.architecture.name} models cannot be rotated`, {
        kind: "unsupported-feature",
        why: "their norms see more of the residual stream than its length",
      });
    }
    const changes = new Changes(job.read);
    const dense = kind === "random";
    const config = stream ? await rotateStream(job, graph, changes, dense) : {};
    if (values) for (let layer = 0; layer < job.config.layers; layer++) rotateValues(job, graph, changes, layer, dense);
    return { config, weights: changes.weights() };
  },
});

/** A rotation of vectors of `size` numbers; in blocks where no Hadamard matrix is large enough, dense where none fits. */
function rotation(size: number, seed: number, name: string, dense: boolean): RowMap {
  const block = dense ? undefined : largestBlock(size, size);
  if (block === undefined) return randomRotation(size, seed, streamOf(name));
  return hadamardRotation(block, signsFor(size, seed, name));
}

/** What the configuration says from now on: that the head is no table any more, where it was one. */
async function rotateStream(job: FoldJob, graph: WeightGraph, changes: Changes, dense: boolean) {
  const { architecture, config, seed, has, read } = job;
  const { tables, writers, norm, head, untied } = graph.stream;
  const turn = rotation(config.width, seed, "stream", dense);
  const ones = (values: Float32Array) => new Float32Array(values.length).fill(1);
  const turnReader = (role: string, gains: string, from = role) => {
    changes.add(role, async (values) => scaleColumns(values, await read(gains)), from);
    changes.add(role, turn);
  };
  for (const role of tables) changes.add(role, turn);
  for (let layer = 0; layer < config.layers; layer++) {
    const at = (role: string) => `layers.${layer}.${role}`;
    for (const { roles, producer } of architecture.parts.linears(config)) {
      if (producer?.kind !== "gain") continue;
      for (const role of roles) turnReader(at(role), at(producer.role));
      changes.add(at(producer.role), ones);
    }
    for (const role of writers.map(at)) {
      changes.add(role, (values) => mapColumns(values, values.length / config.width, turn));
      if (has(`${role}.bias`)) changes.add(`${role}.bias`, turn);
    }
  }
  const [gains, before] = [await read(norm), architecture.parts.head?.role(config) ?? head];
  if (before !== head && gains.every((gain) => gain === gains[0])) return {};
  turnReader(head, norm, before);
  changes.add(norm, ones);
  return before === head ? {} : untied;
}

/** One rotation for every head of a layer, so that heads that share values need nothing else. */
function rotateValues(
  { config, seed, has }: FoldJob,
  graph: WeightGraph,
  changes: Changes,
  layer: number,
  dense: boolean,
) {
  const [value, output] = [graph.attention.value, graph.attention.output].map((role) => `layers.${layer}.${role}`);
  const turn = rotation(config.headSize, seed, value, dense);
  turnValues({ changes, has, value, output, width: config.width }, turn);
}
