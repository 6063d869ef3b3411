/**
 * A Llama of any shape with random weights, for speed alone:
 *
 *     node dist/bench/random-model.js FROM.gguf OUT.gguf --scheme q4_0 --width 2048 --hidden 5632 --layers 22 --heads 32 --kv-heads 4
 *
 * Vocabulary and tokenizer are FROM's. Without shape options it has FROM's shape.
 */
import { parseArgs } from "node:util";
import { repeated } from "../src/bench/kernels.js";
import { containerFor, openCheckpoint } from "../src/checkpoints/index.js";
import { scheme } from "../src/formats/index.js";
import type { DecoderConfig } from "../src/models/index.js";
import { llama } from "../src/models/llama.js";
import { quantize } from "../src/tensor/quantize.js";

const number = { type: "string" } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ scheme: { type: "string", default: "q4_0" }, width: number, hidden: number, layers: number },
    ...{ heads: number, "kv-heads": number },
  },
});
const [from, to] = positionals;
if (from === undefined || to === undefined) throw new Error("wanted FROM.gguf OUT.gguf");
const source = await openCheckpoint(from);
const known = llama.parse(source) as DecoderConfig;
const size = (given: string | undefined, otherwise: number) => (given === undefined ? otherwise : Number(given));
const [width, heads] = [size(values.width, known.width), size(values.heads, known.heads)];
const config: DecoderConfig = {
  ...{ ...known, width, heads, headSize: width / heads },
  ...{ hidden: size(values.hidden, known.hidden), layers: size(values.layers, known.layers) },
  kvHeads: size(values["kv-heads"], known.kvHeads),
};
const { "general.file_type": _counted, ...metadata } = source.typedMetadata ?? source.metadata;
const tensors = llama
  .weights(config)
  .filter(({ optional, names }) => !optional && names.gguf !== undefined && names.gguf !== "rope_freqs.weight")
  .map(({ shape, names }) => {
    const held = scheme(shape.length === 2 ? values.scheme : "f32");
    return { name: names.gguf as string, shape, scheme: held };
  });
await containerFor(to).write(to, {
  metadata: { ...metadata, ...llama.toGguf(config) },
  tensors,
  async produce({ shape, scheme: held }) {
    const [rows, columns] = shape;
    // Small weights, so that numbers stay finite through the layers.
    if (columns === undefined) return quantize(new Float32Array(rows).fill(0.05), shape, held);
    return repeated(held.name, rows, columns);
  },
});
await source.close();
