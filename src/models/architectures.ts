import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { FileError, UnsupportedError } from "../errors.js";
import { registry } from "../registry.js";
import type { Architecture } from "./architecture.js";
import { llama } from "./llama.js";
import { qwen2 } from "./qwen2.js";

export const architectures = registry<Architecture>("architecture", [llama, qwen2]);

/** The architecture a checkpoint names in its metadata. */
export function architectureOf(checkpoint: Checkpoint): Architecture {
  const key = checkpoint.container === "gguf" ? "general.architecture" : "model_type";
  const named = checkpoint.metadata[key];
  if (typeof named !== "string") {
    const where = checkpoint.container === "gguf" ? checkpoint.path : `${checkpoint.path}/config.json`;
    throw new FileError("the model does not say its architecture", {
      kind: "bad-config",
      where,
      why: `"${key}" is missing`,
    });
  }
  const known = architectures.entries.find((architecture) =>
    checkpoint.container === "gguf" ? architecture.gguf === named : architecture.modelTypes.includes(named),
  );
  if (known) return known;
  const supported = architectures.entries.flatMap((one) => one.modelTypes).join(", ");
  throw new UnsupportedError(`architecture "${named}" is not supported`, {
    kind: "unsupported-architecture",
    where: checkpoint.path,
    why: `supported: ${supported}`,
  });
}
