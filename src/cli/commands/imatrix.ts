import { collectImportance, writeImatrix } from "../../quantize/index.js";
import { command } from "../command.js";
import { ENGINE_OPTIONS } from "../engine.js";
import { DEMO_CALIBRATION, MODEL, modelPath, readText } from "../model-path.js";
import { duration, grouped } from "../numbers.js";
import { integer, requiredText, text } from "../option.js";
import { checkWhole } from "../report/write.js";
import { closed, count, number, string } from "../schema.js";
import { pairs } from "../table.js";
import { printable } from "../terminal.js";

interface Result {
  readonly output: string;
  readonly weights: number;
  readonly tokens: number;
  readonly seconds: number;
}

export const imatrix = command({
  name: "imatrix",
  summary: "measure input channels, as llama.cpp's importance matrix",
  description:
    "Runs the model on windows of a text and writes the sums of squares of every linear map's inputs, for " +
    "quantize --method imatrix --imatrix FILE and for llama-quantize --imatrix FILE.",
  arguments: [MODEL],
  options: {
    output: requiredText("-o, --output <file>", "file to write: GGUF, or llama.cpp's older form if it ends in .dat"),
    text: text("--text <file>", "text or conversations to run on; default: bundled text"),
    windows: integer("--windows <n>", "at most so many windows, taken evenly", { min: 1, default: 32 }),
    window: integer("--window <n>", "tokens in each", { min: 2, default: 512 }),
    ...ENGINE_OPTIONS,
  },
  examples: [
    "bitloom imatrix demo -o demo.imatrix.gguf",
    "bitloom imatrix model.gguf --text wiki.txt -o model.imatrix.gguf",
  ],
  output: closed({
    output: string("where it was written"),
    weights: count("matrices that it speaks of"),
    tokens: count("seen by each"),
    seconds: number(),
  }),
  async run(
    { progress },
    [model],
    { output, text: source = DEMO_CALIBRATION, windows, window, threads, backend },
  ): Promise<Result> {
    const begin = performance.now();
    await checkWhole(output);
    let started = false;
    const importance = await collectImportance({
      input: modelPath(model),
      text: await readText(source),
      calibration: { windows, window },
      threads,
      backend,
      onProgress(done, total) {
        if (!started) progress.start("running the model", total);
        started = true;
        progress.update(done);
      },
    });
    await writeImatrix(output, importance, source.split(/[\\/]/).pop() ?? source, window);
    const tokens = Math.max(0, ...[...importance.values()].map((one) => one.tokens));
    return { output, weights: importance.size, tokens, seconds: (performance.now() - begin) / 1000 };
  },
  render: ({ output, weights, tokens, seconds }) =>
    pairs([
      ["written", printable(output)],
      ["weights", grouped(weights)],
      ["tokens", grouped(tokens)],
      ["time", duration(seconds)],
    ]),
});
