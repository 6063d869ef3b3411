/** Instances of generated modules over one memory, and the table in which lists of operations find their kernels. */
export type KernelFunction = (record: number, from: number, to: number, thread: number) => void;

/** What a module imports besides its memory. */
export interface Surroundings {
  readonly table?: WebAssembly.Table;
  /** The memory of weights, for modules that read a second one. */
  readonly weights?: WebAssembly.Memory;
}

export function instantiate(
  bytes: Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
  surroundings: Surroundings = {},
): Record<string, unknown> {
  const env = { memory, ...surroundings } as WebAssembly.ModuleImports;
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env }).exports;
}

/** A table with the kernels of every module in the order of their making: the same places in every thread. */
export class KernelTable {
  readonly table = new WebAssembly.Table({ element: "anyfunc", initial: 0 });

  /** Appends a module's kernels, in the order of their definition; the place of the first. */
  add(kernels: readonly KernelFunction[]): number {
    const first = this.table.grow(kernels.length);
    kernels.forEach((kernel, i) => {
      this.table.set(first + i, kernel);
    });
    return first;
  }
}
