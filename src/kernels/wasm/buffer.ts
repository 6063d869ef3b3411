/** Numbers in WebAssembly memory, and parts of them. */
import type { Buffer } from "../backend.js";
import { check } from "../shapes.js";
import type { Engine } from "./engine.js";

export class WasmBuffer implements Buffer {
  readonly address: number;
  readonly length: number;
  /** Whose memory it lies in. */
  readonly engine: Engine;
  /** The allocation this is a part of. */
  readonly root: { freed: boolean; readonly address: number };

  constructor(engine: Engine, address: number, length: number, root?: WasmBuffer["root"]) {
    this.engine = engine;
    this.address = address;
    this.length = length;
    this.root = root ?? { freed: false, address };
  }

  data(): Float32Array {
    this.engine.finish();
    return new Float32Array(this.engine.memory.buffer, this.address, this.length);
  }

  view(start: number, length: number): Buffer {
    check.view(this.length, start, length);
    return new WasmBuffer(this.engine, this.address + 4 * start, length, this.root);
  }
}
