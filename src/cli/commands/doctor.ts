import { existsSync } from "node:fs";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { backends } from "../../kernels/index.js";
import { detectFeatures, type RelaxedDot } from "../../kernels/wasm/features.js";
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

/** Something that WebAssembly engines may have, and what having or lacking it means for speed. */
interface EngineFeature {
  readonly name: string;
  readonly found: boolean;
  readonly meaning: string;
}

const DOT_MEANINGS: Readonly<Record<RelaxedDot, string>> = {
  none: "products of i16 pairs in its place",
  "7 bits": "exact here for operands of 7 bits alone: weights of 8 bits take products of i16 pairs",
  signed: "reads its second operand as signed bytes, as ARM does: weights of every width to 8 bits take it",
  unsigned: "reads its second operand as unsigned bytes, as x86 with VNNI does: every width to 8 bits takes it",
};

function engineFeatures(): EngineFeature[] {
  const { simd, relaxedSimd, relaxedDot, threads, multiMemory, memory64 } = detectFeatures();
  const feature = (name: string, found: boolean, having: string, lacking: string): EngineFeature => ({
    ...{ name, found, meaning: found ? having : lacking },
  });
  return [
    feature("SIMD", simd, "kernels compute four numbers at a time", "the wasm backend cannot run"),
    feature(
      "relaxed SIMD",
      relaxedSimd,
      "int8 products in one instruction; fused multiply-adds with --exactness fast",
      "int8 products at about half the speed, no fused multiply-adds",
    ),
    feature("relaxed dot", relaxedDot !== "none", DOT_MEANINGS[relaxedDot], DOT_MEANINGS.none),
    feature("threads", threads, "all cores share the work", "one core alone: memory cannot be shared"),
    feature(
      "several memories",
      multiMemory,
      "weights of more than 4 GB run at full speed",
      "models of at most 4 GB: larger ones are refused",
    ),
    feature("memory64", memory64, "there, and not needed: 32-bit addresses are faster", "missing, and not needed"),
  ];
}

interface Diagnosis {
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly demoModel: boolean;
  readonly engineFeatures: readonly EngineFeature[];
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
    engineFeatures: list(
      closed({ name: string(), found: boolean(), meaning: string("for speed, and for what can be run") }),
    ),
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
      engineFeatures: engineFeatures(),
      backends: await Promise.all(backends.names.map(examine)),
    };
  },
  render: (found) =>
    pairs([
      ["node", `${found.node}, ${found.platform}`],
      ["cpu", `${found.cpu}, ${found.cores} core${found.cores === 1 ? "" : "s"}`],
      ["memory", `${byteSize(found.memoryBytes)}, ${byteSize(found.freeMemoryBytes)} free`],
      ["demo model", found.demoModel ? "there" : "missing"],
      ...found.engineFeatures.map(
        ({ name, found: has, meaning }) => [name, `${has ? "yes" : "no"}: ${meaning}`] as const,
      ),
      ...found.backends.map(
        (one) =>
          [
            `backend ${one.name}`,
            [one.works ? ["works", ...one.features].join(", ") : "does not work", ...one.notes].join("; "),
          ] as const,
      ),
    ]),
});
