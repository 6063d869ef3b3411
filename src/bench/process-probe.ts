/** A process of its own that works for so many milliseconds whenever it is asked, and answers with the rate it reached. */
import { scheme } from "../formats/index.js";
import { createBackend } from "../kernels/index.js";
import { readProbe } from "../kernels/wasm/peaks.js";
import { quantize } from "../tensor/quantize.js";
import { numbers } from "./numbers.js";
import type { ProcessWork } from "./processes.js";

export interface ProbeOrder {
  readonly work: ProcessWork;
  readonly milliseconds: number;
}

export interface ProbeAnswer {
  /** 10^9 bytes or multiply-accumulates a second. */
  readonly rate: number;
}

/** Does a piece of the work, and says how many 10^9 units it was. */
type Piece = () => number;

const makers: Readonly<Record<ProcessWork, () => Promise<Piece>>> = {
  async read() {
    const bytes = 2 ** 28;
    const probe = readProbe(undefined, bytes);
    probe.best();
    return () => {
      probe.once();
      return bytes / 1e9;
    };
  },
  async gemm() {
    const [batch, rows, columns] = [128, 1024, 2048];
    const backend = await createBackend("wasm");
    const weight = backend.loadMatrix(quantize(numbers(rows * columns), [rows, columns], scheme("int4-g128")), "int8");
    const [out, x] = [backend.allocate(batch * rows), backend.upload(numbers(batch * columns))];
    return () => {
      backend.matmul(out, x, weight, batch);
      return (batch * rows * columns) / 1e9;
    };
  },
};

const pieces = new Map<ProcessWork, Promise<Piece>>();

process.on("message", async ({ work, milliseconds }: ProbeOrder) => {
  const made = pieces.get(work) ?? makers[work]();
  pieces.set(work, made);
  const piece = await made;
  const start = performance.now();
  let done = 0;
  while (performance.now() - start < milliseconds) done += piece();
  const answer: ProbeAnswer = { rate: (1000 * done) / (performance.now() - start) };
  process.send?.(answer);
});
