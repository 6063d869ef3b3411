/** Instances of generated modules over one memory. */
export type KernelFunction = (record: number, from: number, to: number, thread: number) => void;

export function instantiate(bytes: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory): Record<string, unknown> {
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports;
}

/** The kernels of a module, in the order of their definition. */
export function kernelsOf(bytes: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory): KernelFunction[] {
  return Object.values(instantiate(bytes, memory)) as KernelFunction[];
}
