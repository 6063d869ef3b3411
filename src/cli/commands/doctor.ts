import { existsSync } from "node:fs";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { backends } from "../../kernels/index.js";
import { command } from "../command.js";
import { DEMO_FOLDER } from "../model-path.js";
import { byteSize } from "../numbers.js";
import { boolean, closed, count, list, string } from "../schema.js";
import { pairs } from "../table.js";

interface BackendReport {
  readonly name: string;
  readonly works: boolean;
  readonly features: readonly string[];
  /** What it has to do without, or why it does not work. */
  readonly notes: readonly string[];
}

interface Diagnosis {
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly demoModel: boolean;
  readonly backends: readonly BackendReport[];
}

async function examine(name: string): Promise<BackendReport> {
  try {
    const backend = await backends.get(name).create({ threads: availableParallelism() });
    const { features, fallbacks } = backend.info;
    await backend.dispose();
    return { name, works: true, features, notes: fallbacks };
  } catch (error) {
    return { name, works: false, features: [], notes: [error instanceof Error ? error.message : String(error)] };
  }
}

export const doctor = command({
  name: "doctor",
  summary: "say what this machine offers: engine features, cores, memory",
  arguments: [],
  options: {},
  examples: ["bitloom doctor", "bitloom doctor --json"],
  output: closed({
    node: string(),
    platform: string(),
    cpu: string(),
    cores: count(),
    memoryBytes: count(),
    freeMemoryBytes: count(),
    demoModel: boolean("the bundled model is there"),
    backends: list(
      closed({
        name: string(),
        works: boolean(),
        features: list(string()),
        notes: list(string(), "what it has to do without, or why it does not work"),
      }),
    ),
  }),
  async run(): Promise<Diagnosis> {
    return {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      freeMemoryBytes: freemem(),
      demoModel: existsSync(DEMO_FOLDER),
      backends: await Promise.all(backends.names.map(examine)),
    };
  },
  render: (found) =>
    pairs([
      ["node", `${found.node}, ${found.platform}`],
      ["cpu", `${found.cpu}, ${found.cores} core${found.cores === 1 ? "" : "s"}`],
      ["memory", `${byteSize(found.memoryBytes)}, ${byteSize(found.freeMemoryBytes)} free`],
      ["demo model", found.demoModel ? "there" : "missing"],
      ...found.backends.map(
        (one) =>
          [
            `backend ${one.name}`,
            [one.works ? ["works", ...one.features].join(", ") : "does not work", ...one.notes].join("; "),
          ] as const,
      ),
    ]),
});
