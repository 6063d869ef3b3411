/** Casting whole arrays with kernels generated for each format and scheme. */

export { CastKernels, type PreparedBlocks } from "./cast-kernels.js";
export { type Caster, type CastPaths, createCaster, createThreadedCaster, type ThreadedCaster } from "./caster.js";
export { dequantizeInMemory, type PlaneAddresses, quantizeInMemory } from "./planes-in-memory.js";
export type { Path } from "./scheme-plan.js";
