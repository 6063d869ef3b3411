import { schemes } from "../../formats/index.js";
import { methods, parseOverride, planQuantization, type QuantizeResult, quantizeModel } from "../../quantize/index.js";
import { type Context, command } from "../command.js";
import { interruptible } from "../interrupt.js";
import { MODEL, modelPath } from "../model-path.js";
import { byteSize, dimensions, duration, grouped, significant } from "../numbers.js";
import { flag, named, repeated, requiredText } from "../option.js";
import { boolean, closed, count, list, number, string, tensorSchema } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import { tensorBytes } from "../tensor-bytes.js";
import { printable, type Style } from "../terminal.js";

type Quantized = QuantizeResult & { readonly peakRssBytes: number };
/** What `--dry-run` finds: sizes are exact, errors are not known without doing the work. */
interface Plan {
  readonly dryRun: true;
  readonly output: string;
  readonly bytesRead: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly tensors: readonly Omit<Quantized["tensors"][number], "relativeMse">[];
}

const output = closed(
  {
    output: string("where the model was written"),
    bytes: count("of the files that hold tensors; with --dry-run of the tensor data alone"),
    bitsPerWeight: number("bits of tensor data for each number of the model"),
    tensors: list(tensorSchema),
  },
  {
    seconds: number("not with --dry-run"),
    peakRssBytes: count("most memory that the process held; not with --dry-run"),
    dryRun: boolean("true: nothing was written"),
    bytesRead: count("tensor data of the input; only with --dry-run"),
  },
);

const options = {
  to: named("--to <scheme>", `scheme of the weights (bitloom schemes lists them)`, schemes),
  output: requiredText("-o, --output <path>", "a name ending in .gguf, or a folder for safetensors"),
  method: named("--method <name>", `how codes are chosen (${methods.names.join(", ")})`, methods, "rtn"),
  tensorType: repeated("--tensor-type <pattern=scheme>", "another scheme for tensors whose name fits", parseOverride),
  dryRun: flag("--dry-run", "print what would be written, and write nothing"),
};

async function plan(input: string, scheme: string, path: string, overrides: ReturnType<typeof parseOverride>[]) {
  const planned = await planQuantization({ input, output: path, scheme, overrides });
  await planned.checkpoint.close();
  const tensors = planned.tensors.map((one) => ({
    name: one.name,
    shape: one.shape,
    scheme: one.scheme.name,
    bytes: tensorBytes(one.scheme, one.shape),
  }));
  const bytes = tensors.reduce((sum, one) => sum + one.bytes, 0);
  const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const bytesRead = planned.checkpoint.tensors.reduce((sum, one) => sum + one.bytes, 0);
  return { dryRun: true, output: path, bytesRead, bytes, bitsPerWeight: (8 * bytes) / weights, tensors } as const;
}

/** Quantizes with progress; interrupted, it leaves nothing behind. */
export function quantizeWithProgress(
  { progress }: Context,
  settings: Omit<Parameters<typeof quantizeModel>[0], "onProgress" | "signal">,
  label = `quantizing to ${settings.scheme}`,
): Promise<QuantizeResult> {
  let started = false;
  return interruptible((signal) =>
    quantizeModel({
      ...settings,
      signal,
      onProgress({ name, doneWeights, totalWeights }) {
        if (!started) progress.start(label, totalWeights);
        started = true;
        progress.update(doneWeights, name);
      },
    }),
  );
}

function render(result: Quantized | Plan, style: Style): string {
  const dry = "dryRun" in result;
  const rows = result.tensors.map((one) => [
    printable(one.name),
    dimensions(one.shape),
    one.scheme,
    grouped(one.bytes),
    ...("relativeMse" in one ? [one.relativeMse === 0 ? "exact" : significant(one.relativeMse as number, 3)] : []),
  ]);
  const columns = [left("tensor"), left("shape"), left("scheme"), right("bytes")];
  const list = table(dry ? columns : [...columns, right("relative MSE")], rows, style.bold);
  const size = `${grouped(result.bytes)} bytes (${byteSize(result.bytes)})`;
  const bits = `${result.bitsPerWeight.toFixed(3)} bits per weight`;
  const tail = dry
    ? pairs([
        ["would write", printable(result.output)],
        ["tensor data", `${size}, ${bits}, from ${grouped(result.bytesRead)} bytes`],
      ])
    : pairs([
        ["written", printable(result.output)],
        ["size", `${size}, ${bits}`],
        ["time", duration(result.seconds)],
        ["peak memory", byteSize(result.peakRssBytes)],
      ]);
  return `${list}\n${tail}`;
}

export const quantize = command({
  name: "quantize",
  summary: "write a model's weights in a low-precision scheme",
  description:
    "Matrices, embedding and head included, get the scheme; norms and biases stay as they are. The output appears " +
    "under its name only when it is complete, replacing a model that was there; the input is never touched.",
  arguments: [MODEL],
  options,
  examples: [
    "bitloom quantize demo --to q4_0 -o demo-q4_0.gguf",
    "bitloom quantize ./SmolLM2-135M --to mxfp4 -o smol-mxfp4.gguf --tensor-type 'embd=q8_0'",
    "bitloom quantize demo --to int3-g32 -o out/int3 --dry-run",
  ],
  output,
  async run(context, [model], { to, output: path, method, tensorType, dryRun }): Promise<Quantized | Plan> {
    const input = modelPath(model);
    const overrides = [...tensorType];
    if (dryRun) return plan(input, to, path, overrides);
    const result = await quantizeWithProgress(context, { input, output: path, scheme: to, method, overrides });
    return { ...result, peakRssBytes: 1024 * process.resourceUsage().maxRSS };
  },
  render,
});
