/** Where the time of operations goes: calls and milliseconds of each kernel, products apart by weight. */
import type { OperationTime } from "../backend.js";
import type { KernelSignature } from "./kernel.js";

/** What a profile must know of the weight that is being multiplied. */
export interface Subject {
  readonly scheme: string;
  readonly rows: number;
  readonly columns: number;
}

type Sum = { -readonly [K in keyof OperationTime]: OperationTime[K] };

export class Profile {
  readonly #sums = new Map<string, Sum>();

  /** Counts one call. Products are the kernels that read weights. */
  add({ name, fields }: KernelSignature, subject: Subject | undefined, work: number, milliseconds: number): void {
    const weight =
      subject && fields.includes("weights") ? `${subject.scheme} ${subject.rows}x${subject.columns}` : undefined;
    const key = weight === undefined ? name : `${name} ${weight}`;
    const sum = this.#sums.get(key) ?? {
      ...{ kernel: name, calls: 0, milliseconds: 0 },
      ...(weight !== undefined && { weight, multiplications: 0 }),
    };
    this.#sums.set(key, sum);
    sum.calls++;
    sum.milliseconds += milliseconds;
    if (sum.multiplications !== undefined) sum.multiplications += work;
  }

  /** What took longest first. */
  list(): readonly OperationTime[] {
    return [...this.#sums.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  }
}
