/** What the engine and the machine offer, found out by trying. */
import { createModule, type Expression, type MemoryLimits } from "./emitter.js";
import { i8x16, i32x4, v128 } from "./instructions.js";

/**
 * What `relaxed_dot_i8x16_i7x16` makes of a second operand beyond 7 bits: reads it as unsigned (x86 with VNNI), as
 * signed (ARM), or neither exactly. Within 0..127 all hosts agree.
 */
export type RelaxedDot = "none" | "7 bits" | "signed" | "unsigned";

export interface Features {
  readonly simd: boolean;
  readonly relaxedSimd: boolean;
  readonly relaxedDot: RelaxedDot;
  /** Shared memory can be made and workers started. */
  readonly threads: boolean;
  /** A module may read several memories, of 4 GB each. */
  readonly multiMemory: boolean;
  /** A memory may have 64-bit addresses. */
  readonly memory64: boolean;
}

let detected: Features | undefined;

export function detectFeatures(): Features {
  detected ??= {
    simd: accepts(i8x16.splat(1)),
    relaxedSimd: accepts(dot(1, 1)),
    relaxedDot: probeRelaxedDot(),
    threads: canShareMemory(),
    multiMemory: validates({ weights: true }),
    memory64: validates({ wide: true }),
  };
  return detected;
}

const dot = (a: number, b: number) =>
  i32x4.relaxed_dot_i8x16_i7x16_add_s(i8x16.splat(a), i8x16.splat(b), v128.const(new Uint8Array(16)));

function moduleOf(value: Expression<"v128">): Uint8Array<ArrayBuffer> {
  const m = createModule();
  m.func("lane", {}, "i32", () => i32x4.extract_lane(value, 0));
  return m.bytes();
}

const validates = (memory: MemoryLimits) =>
  typeof WebAssembly === "object" && WebAssembly.validate(createModule(memory).bytes());

function accepts(value: Expression<"v128">): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(moduleOf(value));
}

/** Multiplies 127 with 255 four times: 129540 if 255 is unsigned, -508 if it is -1; pairs that saturate give neither. */
function probeRelaxedDot(): RelaxedDot {
  if (!accepts(dot(1, 1))) return "none";
  const env = { memory: new WebAssembly.Memory({ initial: 0 }) };
  const { lane } = new WebAssembly.Instance(new WebAssembly.Module(moduleOf(dot(127, 255))), { env }).exports;
  const sum = (lane as () => number)();
  if (sum === 4 * 127 * 255) return "unsigned";
  return sum === 4 * 127 * -1 ? "signed" : "7 bits";
}

function canShareMemory(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated;
  return isolated !== false;
}
