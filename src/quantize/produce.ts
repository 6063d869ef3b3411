/** One tensor of the output: as it is, quantized on its own, or taken from the finished parts of a calibrated run. */
import { FileError } from "../errors.js";
import type { Scheme } from "../formats/scheme.js";
import { besideWeight, readVector, readWeight } from "../models/index.js";
import { dequantize, gatherRows, type PackedTensor, quantize } from "../tensor/index.js";
import type { ArtifactStore, FinishedTensor, TensorReport } from "./artifacts.js";
import { relativeSquaredError } from "./errors.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import { inPlace, quantizeWeight } from "./row-blocks.js";
import type { RowsRunner } from "./row-threads.js";
import type { InputStatistics } from "./statistics.js";

/** Finished tensors on disk, and the name of the text that they were calibrated with. */
export interface Parts {
  readonly store: ArtifactStore;
  readonly keys: ReadonlyMap<string, string>;
  readonly text: string;
}

export interface Produced {
  readonly packed: PackedTensor;
  readonly report: TensorReport;
}

/** One tensor in its target scheme and row order, with what is to be said about it. */
export async function produceTensor(
  plan: QuantizePlan,
  planned: PlannedTensor,
  parts: Parts | undefined,
  runner: RowsRunner = inPlace,
): Promise<Produced> {
  const { checkpoint, container, recipe } = plan;
  const { spec, source, scheme, shape, quantizer } = planned;
  if (!spec) return { packed: await checkpoint.read(source?.name ?? ""), report: { relativeMse: 0 } };
  const [finished] = await finishedTensor(parts, spec.role);
  if (!source && !finished) return exact(scheme, spec.implied ?? new Float32Array(), shape);
  const order = container.name === "gguf" ? spec.ggufRows : undefined;
  if (shape.length === 1 || spec.table) {
    const values = finished ? dequantize(finished.packed) : await readVector(checkpoint, spec);
    if (!values) throw new Error(`${spec.role} was planned and is gone`);
    return exact(scheme, order ? Float32Array.from(order, (row) => values[row]) : values, shape);
  }
  const { packed, report } = finished ?? (await fromOriginal());
  const notes = { ...plan.notes.get(spec.role), ...report.notes };
  const said = Object.keys(notes).length > 0 ? { ...report, notes } : report;
  return { packed: order ? gatherRows(packed, order) : packed, report: said };

  async function fromOriginal(): Promise<Produced> {
    const original = await readWeight(checkpoint, spec!);
    if (!original) throw new Error(`${spec!.role} was planned and is gone`);
    if (original.scheme.name === scheme.name || !quantizer) return { packed: original, report: { relativeMse: 0 } };
    const statistics = importanceOf(plan, planned);
    const notes = plan.importance && !statistics ? { withoutImportance: 1 } : undefined;
    return quantizeWeight(runner, { quantizer, original, scheme, seed: recipe.seed, statistics, notes });
  }
}

/** What the importance matrix says of a tensor's inputs; a FileError where it speaks of another model. */
function importanceOf({ importance }: QuantizePlan, { spec, shape }: PlannedTensor): InputStatistics | undefined {
  const name = spec?.names.gguf;
  const found = name === undefined ? undefined : importance?.get(name);
  const columns = shape[shape.length - 1];
  if (!found || found.columns === columns) return found;
  throw new FileError(`the importance matrix is of another model`, {
    why: `"${name}" has ${found.columns} input channels there, ${columns} here`,
  });
}

async function finishedTensor(parts: Parts | undefined, role: string): Promise<FinishedTensor[]> {
  const key = parts?.keys.get(besideWeight(role) ?? role);
  return parts && key !== undefined ? parts.store.get(key, role) : [];
}

function exact(scheme: Scheme, values: Float32Array, shape: readonly number[]): Produced {
  const packed = quantize(values, shape, scheme);
  return { packed, report: { relativeMse: relativeSquaredError(values, dequantize(packed)) } };
}
