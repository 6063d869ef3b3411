/**
 * What several processes that know nothing of each other reach together, as a ratio to one alone: the limit that a ratio of
 * several threads to one thread has to be seen beside. Cores of a virtual machine may share one real core with others, and one
 * core may already read most of what memory gives.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import type { ProbeAnswer, ProbeOrder } from "./process-probe.js";

/** Kinds of work: reading far beyond the caches (GB/s), and a product of 128 rows with int4-g128 weights (GMAC/s). */
export const PROCESS_WORK = ["read", "gemm"] as const;
export type ProcessWork = (typeof PROCESS_WORK)[number];

export interface ProcessScaling {
  readonly work: ProcessWork;
  readonly processes: number;
  /** The rate of one alone, and of all together. Medians. */
  readonly one: number;
  readonly together: number;
  readonly ratio: number;
}

const rounds = 5;
const milliseconds = 200;

/** Measures for some seconds per kind of work. */
export async function measureProcesses(processes: number): Promise<readonly ProcessScaling[]> {
  const found: ProcessScaling[] = [];
  for (const work of PROCESS_WORK) found.push(await scaling(work, processes));
  return found;
}

async function scaling(work: ProcessWork, processes: number): Promise<ProcessScaling> {
  const children = Array.from({ length: processes }, () => fork(new URL("./process-probe.js", import.meta.url)));
  const ask = async (child: (typeof children)[number], order: ProbeOrder): Promise<number> => {
    child.send(order);
    const [answer] = (await once(child, "message")) as [ProbeAnswer];
    return answer.rate;
  };
  try {
    await Promise.all(children.map((child) => ask(child, { work, milliseconds })));
    const [alone, together]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      alone.push(await ask(children[0], { work, milliseconds }));
      const rates = await Promise.all(children.map((child) => ask(child, { work, milliseconds })));
      together.push(rates.reduce((sum, rate) => sum + rate, 0));
    }
    const [one, all] = [median(alone), median(together)];
    return { work, processes, one, together: all, ratio: all / one };
  } finally {
    for (const child of children) child.kill();
  }
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];
