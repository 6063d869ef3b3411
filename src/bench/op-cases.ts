/** The operations besides products: what a decoder runs between two matrices, in the sizes of a small model. */
import type { Backend, Buffer } from "../kernels/backend.js";
import type { KernelCase } from "./kernels.js";
import { numbers } from "./numbers.js";
import { twoPassCase } from "./softmax-forms.js";

interface Op {
  readonly op: string;
  readonly shape: string;
  /** Multiplications of one call, roughly: exponentials count as eight. */
  readonly macs: number;
  /** Lengths of the buffers it works on; the first is the output. */
  readonly lengths: readonly number[];
  run(backend: Backend, buffers: readonly Buffer[]): void;
}

const toCase = ({ op, shape, macs, lengths, run }: Op): KernelCase => ({
  ...{ op, shape, macs, scheme: "f32" },
  start(backend) {
    const buffers = lengths.map((length) => backend.upload(numbers(length)));
    return {
      bytes: lengths.reduce((sum, length) => sum + 4 * length, 0),
      run: () => run(backend, buffers),
      dispose() {
        for (const buffer of buffers) backend.free(buffer);
      },
    };
  },
});

function attention(batch: number, position: number): Op {
  const [heads, kvHeads, headSize] = [9, 3, 64];
  const seen = position + batch;
  const side = seen * kvHeads * headSize;
  return {
    op: "attention",
    shape: `${batch}x${heads}x${headSize} over ${seen}`,
    macs: 2 * batch * heads * headSize * (position + batch / 2),
    lengths: [batch * heads * headSize, batch * heads * headSize, side, side],
    run: (backend, [out, q, keys, values]) =>
      backend.attention(out, q, keys, values, { batch, position, heads, kvHeads, headSize }),
  };
}

const softmax = (rows: number, columns: number): Op => ({
  ...{ op: "softmax", shape: `${rows}x${columns}`, macs: 8 * rows * columns },
  lengths: [rows * columns, rows * columns],
  run: (backend, [out, x]) => backend.softmax(out, x, rows, columns),
});

const rmsNorm = (rows: number, columns: number): Op => ({
  ...{ op: "rmsNorm", shape: `${rows}x${columns}`, macs: 2 * rows * columns },
  lengths: [rows * columns, rows * columns, columns],
  run: (backend, [out, x, gain]) => backend.rmsNorm(out, x, gain, rows, 1e-5),
});

const siluMultiply = (length: number): Op => ({
  ...{ op: "siluMultiply", shape: `${length}`, macs: 10 * length },
  lengths: [length, length, length],
  run: (backend, [out, gate, up]) => backend.siluMultiply(out, gate, up, length),
});

/** One token and a prompt; a row of softmax within the caches and one of a vocabulary. */
export function opCases(quick: boolean): KernelCase[] {
  const small = [attention(1, 255), attention(64, 0), softmax(64, 256), rmsNorm(1, 576), siluMultiply(1536)];
  const large = [attention(1, 2047), attention(128, 384), softmax(64, 4096), rmsNorm(128, 2048)];
  if (quick) return small.map(toCase);
  const forms = [twoPassCase(64, 256), twoPassCase(64, 4096), twoPassCase(4, 2 ** 20)];
  return [...[...small, ...large, softmax(4, 2 ** 20), siluMultiply(128 * 1536)].map(toCase), ...forms];
}
