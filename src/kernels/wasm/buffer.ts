/** Numbers in WebAssembly memory, and parts of them. */
import type { Buffer } from "../backend.js";
import { check } from "../shapes.js";

export class WasmBuffer implements Buffer {
  readonly address: number;
  readonly length: number;
  /** The memory it lies in; also tells whose it is. */
  readonly memory: WebAssembly.Memory;
  /** The allocation this is a part of. */
  readonly root: { freed: boolean; readonly address: number };

  constructor(memory: WebAssembly.Memory, address: number, length: number, root?: WasmBuffer["root"]) {
    this.memory = memory;
    this.address = address;
    this.length = length;
    this.root = root ?? { freed: false, address };
  }

  data(): Float32Array {
    return new Float32Array(this.memory.buffer, this.address, this.length);
  }

  view(start: number, length: number): Buffer {
    check.view(this.length, start, length);
    return new WasmBuffer(this.memory, this.address + 4 * start, length, this.root);
  }
}
