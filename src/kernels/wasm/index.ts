import { InputError, UnsupportedError } from "../../errors.js";
import type { BackendRecord } from "../backend.js";
import { WasmBackend } from "./backend.js";
import { Engine, maximumPages } from "./engine.js";
import { detectFeatures } from "./features.js";

/** SIMD kernels generated at run time; needs WebAssembly SIMD, uses threads where memory can be shared. */
export const wasm: BackendRecord = {
  name: "wasm",
  summary: "WebAssembly SIMD, generated for each scheme at run time",
  async create({ threads = 1, exactness = "deterministic", memories = 1, memoryBytes = 2 ** 32 } = {}) {
    if (!Number.isInteger(threads) || threads < 1) {
      throw new InputError(`the wasm backend cannot run on ${threads} threads`, {
        kind: "value-out-of-range",
        why: "wanted a whole number from 1",
      });
    }
    const { simd, relaxedSimd, threads: canThread, multiMemory } = detectFeatures();
    const pages = Math.floor(memoryBytes / 65536);
    if (!Number.isInteger(memories) || memories < 1 || memories > 256 || pages < 16 || pages > maximumPages) {
      throw new InputError(`the wasm backend cannot have ${memories} memories of ${memoryBytes} bytes`, {
        kind: "value-out-of-range",
        why: "wanted 1 to 256 of 1 MiB to 4 GiB",
      });
    }
    if (memories > 1 && !multiMemory) {
      throw new UnsupportedError("the wasm backend cannot hold more than 4 GB in this engine", {
        kind: "no-engine-feature",
        why: "it needs WebAssembly modules with several memories, for the weights beyond",
        try: "Node 22 or newer, a scheme of fewer bits, or --backend reference",
      });
    }
    if (!simd) {
      throw new UnsupportedError("this engine has no WebAssembly SIMD", {
        kind: "no-engine-feature",
        try: "a newer engine, or --backend reference",
      });
    }
    const fallbacks: string[] = [];
    if (!relaxedSimd) fallbacks.push("no relaxed SIMD in this engine: int8 matmul runs at about half speed");
    if (threads > 1 && !canThread) fallbacks.push("no shared memory here: running on one thread");
    const engine = await Engine.start({ threads: canThread ? threads : 1, memories, pages });
    const features = ["simd128", ...(relaxedSimd ? ["relaxed-simd"] : []), ...(engine.threads > 1 ? ["threads"] : [])];
    const level = relaxedSimd ? exactness : "deterministic";
    if (level !== exactness) fallbacks.push("no fused multiply-add without relaxed SIMD: f32 runs deterministically");
    return new WasmBackend(engine, { name: "wasm", threads: engine.threads, exactness: level, features, fallbacks });
  },
};
