/** Casting whole arrays with kernels generated for each format and scheme. */

export { CastKernels, type PlaneAddresses } from "./cast-kernels.js";
export { type Caster, type CastPaths, createCaster } from "./caster.js";
export type { Path } from "./scheme-plan.js";
