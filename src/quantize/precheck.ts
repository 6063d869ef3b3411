/** What would fail at the end of a long run, found at its start: no room, no permission, weights that are not numbers. */
import { NumericError } from "../errors.js";
import { columnsOf, planeBytes, rowsOf } from "../tensor/index.js";
import { firstNonFinite } from "./finite.js";
import { outputFiles } from "./output.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizeOptions } from "./quantize.js";
import type { QuantizePlan } from "./quantize-plan.js";

const bytesOf = ({ scheme, shape }: PlannedTensor) =>
  Object.values(planeBytes(scheme, rowsOf(shape), columnsOf(shape))).reduce((sum, bytes) => sum + bytes, 0);

/**
 * Whether the output can be put in its place, its metadata made, and all weights read. `scratch`: what is kept beside the
 * output meanwhile, as a share of its size.
 */
export async function precheck(plan: QuantizePlan, { input, output }: QuantizeOptions, scratch: number): Promise<void> {
  const { sideFiles } = await outputFiles(plan);
  const bytes = plan.tensors.reduce((sum, one) => sum + bytesOf(one), 0);
  await plan.container.checkOutput(output, Math.ceil(bytes * (1 + scratch)), { inputs: [input], sideFiles });
  await checkFinite(plan);
}

/** A NumericError that names the first weight of the input that is no finite number. */
async function checkFinite({ input, tensors }: QuantizePlan): Promise<void> {
  const used = new Set(tensors.map(({ source }) => source?.name));
  for (const { name, file, scheme } of input.tensors) {
    if (!scheme || !used.has(name)) continue;
    const found = firstNonFinite(await input.read(name));
    if (!found) continue;
    throw new NumericError(`a weight of the model is ${found.value}`, {
      kind: "non-finite-weights",
      where: `${file}, tensor "${name}", index ${found.index}`,
      why: "statistics of such a model say nothing, and no scheme with scales holds such numbers",
      try: "repair the model, or download it again",
    });
  }
}
