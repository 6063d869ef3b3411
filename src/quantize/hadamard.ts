import { UnsupportedError } from "../errors.js";
import type { LinearRecord } from "../models/index.js";
import { Changes, hadamardRotation, largestBlock, signsFor, streamOf, turnValues } from "./fold.js";
import { fold } from "./transform.js";

/**
 * Blocks of a linear map's input rotated by Hadamard matrices with random signs: in the weights once and for all, in the
 * activations as they come. What stands out in a block is spread over it, which suits coarse formats whose scales are
 * powers of two best. Before GPTQ this is MR-GPTQ; before the down projection alone, in whole rows, QuaRot's online part.
 * The input of the output projection is turned where values are made, which costs nothing.
 */
export const hadamard = fold({
  name: "hadamard",
  summary: "inputs of linear maps rotated block by block, weights once, activations as they come",
  source:
    "Egiazarian et al. 2025 (MR-GPTQ), arXiv 2509.23202, section 4; Ashkboos et al. 2024 (QuaRot), arXiv 2404.00456",
  options: {
    block: {
      kind: "integer",
      summary: "channels rotated together: the largest order not above this that divides the row",
      default: 128,
      min: 4,
      max: 65536,
    },
  },
  fold({ architecture, config, seed, takes, has, read }, { block: most }) {
    const changes = new Changes(read);
    const linears: Record<string, LinearRecord> = {};
    const notes = new Map<string, { readonly hadamardBlock: number }>();
    const shapes = new Map(architecture.weights(config).map(({ role, shape }) => [role, shape]));
    const { attention } = architecture.parts.graph ?? {};
    for (let layer = 0; layer < config.layers; layer++) {
      const at = (role: string) => `layers.${layer}.${role}`;
      for (const group of architecture.parts.linears(config)) {
        const roles = group.roles.map(at);
        if (!roles.every(takes)) continue;
        const columns = shapes.get(roles[0])?.[1] ?? 0;
        const folded = attention && group.roles.length === 1 && group.roles[0] === attention.output;
        const block = largestBlock(folded ? config.headSize : columns, most) ?? odd(roles[0], columns);
        for (const role of roles) notes.set(role, { hadamardBlock: block });
        if (folded) {
          const [value, output] = [at(attention.value), at(attention.output)];
          const turn = hadamardRotation(block, signsFor(config.headSize, seed, value));
          turnValues({ changes, has, value, output, width: config.width }, turn);
          continue;
        }
        const turn = hadamardRotation(block, signsFor(columns, seed, roles[0]));
        for (const role of roles) {
          changes.add(role, turn);
          linears[role] = { input: [{ kind: "hadamard", block, seed, stream: streamOf(roles[0]) }] };
        }
      }
    }
    return { weights: changes.weights(), linears, notes };
  },
});

function odd(role: string, columns: number): never {
  throw new UnsupportedError(`the input of ${role} cannot be rotated`, {
    kind: "unsupported-feature",
    why: `its ${columns} channels are no whole blocks of a known Hadamard matrix of at most that many`,
    try: "tensors: a pattern that leaves it out",
  });
}
