import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { FileError, UnsupportedError } from "../errors.js";
import { registry } from "../registry.js";
import type {
  Architecture,
  DecoderArchitecture,
  EncoderArchitecture,
  ModelConfig,
  WeightSpec,
} from "./architecture.js";
import { bert } from "./bert.js";
import { llama } from "./llama.js";
import { qwen2 } from "./qwen2.js";

export const architectures = registry<DecoderArchitecture | EncoderArchitecture>("architecture", [llama, qwen2, bert]);

/** The architecture a checkpoint names in its metadata. */
export const architectureOf = (checkpoint: Checkpoint): Architecture => namedBy(checkpoint);

function namedBy(checkpoint: Checkpoint): DecoderArchitecture | EncoderArchitecture {
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

/** A checkpoint seen as a model: nothing but metadata and small tensors has been read. */
export interface Description<Config extends ModelConfig = ModelConfig> {
  readonly config: Config;
  readonly specs: readonly WeightSpec[];
}

/** The configuration, all of it, and the weight table. */
export async function describeModel<Config extends ModelConfig>(
  checkpoint: Checkpoint,
  architecture: Pick<Architecture<Config>, "parse" | "complete" | "weights">,
): Promise<Description<Config>> {
  const parsed = architecture.parse(checkpoint);
  const config = (await architecture.complete?.(checkpoint, parsed)) ?? parsed;
  return { config, specs: architecture.weights(config) };
}

const ADVICE = {
  decoder: "it makes vectors of texts and predicts no tokens; bitloom embed runs and compares it",
  encoder: "it predicts tokens and was not trained to make vectors of texts; bitloom run runs it",
};

/** The architecture of a model that predicts tokens; an UnsupportedError for one that makes vectors. */
export function decoderOf(checkpoint: Checkpoint): DecoderArchitecture {
  const architecture = namedBy(checkpoint);
  if (architecture.kind === "decoder") return architecture;
  throw otherKind(checkpoint, architecture, "decoder");
}

/** The architecture of a model that makes vectors; an UnsupportedError for one that predicts tokens. */
export function encoderOf(checkpoint: Checkpoint): EncoderArchitecture {
  const architecture = namedBy(checkpoint);
  if (architecture.kind === "encoder") return architecture;
  throw otherKind(checkpoint, architecture, "encoder");
}

const otherKind = ({ path }: Checkpoint, { name, kind }: Architecture, wanted: "decoder" | "encoder") =>
  new UnsupportedError(`this needs a model that ${wanted === "decoder" ? "predicts tokens" : "makes vectors"}`, {
    kind: "unsupported-architecture",
    where: path,
    why: `architecture ${name} is a kind of ${kind}: ${ADVICE[wanted]}`,
  });
