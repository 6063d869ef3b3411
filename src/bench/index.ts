/** Measuring speed: kernels beside the machine's limits, whole models, and the plans behind the figures. */
export { benchDecode, type DecodeOptions, type DecodeReport, type OperationShare } from "./decode.js";
export { benchKernels, type KernelBenchOptions, type KernelReport, type KernelResult } from "./kernels.js";
export { type PlanRow, planModel, planScheme } from "./plan.js";
export { measureProcesses, PROCESS_WORK, type ProcessScaling } from "./processes.js";
export { type AnyQualityRow, benchQuality, type QualityCase, type QualityOptions, qualityCase } from "./quality.js";
export { processClock, type Times } from "./timing.js";
