/** The machine that a figure was measured on, for the record. */
import { availableParallelism, cpus } from "node:os";
import { closed, count, number, string } from "../schema.js";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly platform: string;
  readonly arch: string;
  readonly engine: string;
}

export const machineOf = (): Machine => ({
  ...{ cpu: cpus()[0]?.model ?? "unknown", cores: availableParallelism(), platform: process.platform },
  ...{ arch: process.arch, engine: `node ${process.version}` },
});

export const machineSchema = closed({
  ...{ cpu: string(), cores: count(), platform: string(), arch: string(), engine: string() },
});

/** Of one measured case, in milliseconds. */
export const TIMES = { medianMs: number(), bestMs: number(), spread: number("distance of the quartiles / median") };
