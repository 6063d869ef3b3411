/**
 * Bitloom as a library: one namespace for each floor. Import `bitloom/formats`, `bitloom/quantize` and so on to load
 * one floor and those below it alone.
 */
export * as checkpoints from "./checkpoints/index.js";
export * as formats from "./entries/formats.js";
export * from "./errors.js";
export * as evaluate from "./evaluate/index.js";
export * as kernels from "./kernels/index.js";
export * as models from "./models/index.js";
export * as quantize from "./quantize/index.js";
export * as tensor from "./tensor/index.js";
