import { type ExplainedPlan, explainPlan, type Rehearsal, tryQuantization } from "../../quantize/index.js";
import { command } from "../command.js";
import { forecast } from "../forecast.js";
import { interruptible } from "../interrupt.js";
import { MODEL } from "../model-path.js";
import { byteSize, duration, grouped, significant } from "../numbers.js";
import { PLANNED, type Planned, plannedOf, RECIPE_OPTIONS, settingsOf } from "../recipe.js";
import { EXPLAINED, explanationText } from "../recipe-text.js";
import { closed, list, number, string, count as whole } from "../schema.js";
import { pairs } from "../table.js";
import { printable, type Style } from "../terminal.js";

interface Tried extends Planned, ExplainedPlan {
  readonly stages: readonly { readonly name: string; readonly tensors: number; readonly bytes: number }[];
  readonly rehearsal: Rehearsal;
}

const output = closed({
  ...PLANNED,
  ...EXPLAINED,
  stages: list(
    closed({ name: string("embedding, layers.N, head or the rest"), tensors: whole(), bytes: whole("written") }),
    "in the order of the work",
  ),
  rehearsal: closed(
    {
      unit: string("the part that was done in a folder of its own, which is removed"),
      tensors: whole(),
      bytes: whole("of the file that was written and read again"),
      seconds: number("for writing, reading and running it"),
    },
    { outputError: number("of the part's outputs, ||y - y'||^2 / ||y||^2; not where a transform moves them") },
  ),
});

function render(result: Tried, style: Style): string {
  const { rehearsal, stages } = result;
  const error =
    rehearsal.outputError === undefined ? "" : `, error of its outputs ${significant(rehearsal.outputError, 3)}`;
  const layers = stages.filter(({ name }) => name.startsWith("layers."));
  const rest = stages.filter(({ name }) => !name.startsWith("layers."));
  const stageText = [`${layers.length} layers`, ...rest.map(({ name }) => name)].join(", ");
  const { estimatedSeconds: seconds, estimatedPeakBytes: peak } = result;
  return `${explanationText(result, style)}\n${pairs([
    ["would write", printable(result.output)],
    ["tensor data", `${grouped(result.bytes)} bytes, ${result.bitsPerWeight.toFixed(3)} bits per weight`],
    ["reads", `${grouped(result.bytesRead)} bytes`],
    ["scratch", `${grouped(result.scratchBytes)} bytes on disk until it is written`],
    ["stages", stageText],
    ["tried out", `${rehearsal.unit}: ${rehearsal.tensors} tensors written, read and run${error}`],
    ["time", seconds === null ? "unknown" : `about ${duration(seconds)}`],
    ["peak memory", peak === null ? "unknown" : `at least ${byteSize(peak)}`],
  ])}`;
}

export const plan = command({
  name: "plan",
  summary: "say what quantizing would take, and try a layer",
  description:
    "Takes what quantize takes. Everything that can fail late is done once: the first layer is calibrated with one window " +
    "of text, quantized, written in the output's container, read again and run. Nothing is left behind.",
  arguments: [MODEL],
  options: RECIPE_OPTIONS,
  examples: [
    "bitloom plan demo --to q4_0 --method gptq -o demo-gptq.gguf",
    "bitloom plan ./SmolLM2-135M --recipe recipe.json -o small --calibrate text.txt --json",
  ],
  output,
  async run({ progress }, [model], chosen): Promise<Tried> {
    const settings = await settingsOf(model, chosen);
    progress.start("trying the first layer", 1);
    const {
      plan: made,
      rehearsal,
      layerSeconds,
    } = await interruptible((signal) => tryQuantization({ ...settings, signal }));
    const planned = plannedOf(made, settings.output, forecast(made, settings.threads, layerSeconds));
    const stages = new Map<string, { tensors: number; bytes: number }>();
    for (const [index, { spec }] of made.tensors.entries()) {
      const name = /^(layers\.\d+)\./.exec(spec?.role ?? "")?.[1] ?? spec?.role ?? "copied";
      const stage = stages.get(name) ?? { tensors: 0, bytes: 0 };
      stages.set(name, { tensors: stage.tensors + 1, bytes: stage.bytes + planned.tensors[index].bytes });
    }
    const inOrder = [...stages].map(([name, stage]) => ({ name, ...stage }));
    return { ...planned, ...explainPlan(made), stages: inOrder, rehearsal };
  },
  render,
});
