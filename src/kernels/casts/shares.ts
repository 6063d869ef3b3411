/**
 * Array kernels on several threads. A kernel over an array works as well on any part of it, so beside it stands one that
 * calls it for share after share, each with the addresses moved on; the shares are the items that threads take. Every element
 * is computed from its own inputs alone: bytes do not depend on the number of threads.
 */
import { call, type Func, type ModuleBuilder, type Parameters } from "../wasm/emitter.js";
import { i32, select } from "../wasm/instructions.js";
import { defineKernel, type KernelSignature } from "../wasm/kernel.js";

/** An argument of an array kernel: the same for all shares, an address that moves on by `step` bytes a unit, or the count. */
export type Argument = number | { readonly at: number; readonly step: number } | "count";

/** `unit`: elements that a unit counts as in the kernel's own count. Results are words, one a share. */
const head = ["units", "share", "unit", "results"] as const;

export const sharesSignature = (name: string, parameters: readonly string[]): KernelSignature => ({
  name: `${name} by shares`,
  fields: [...head, ...parameters.flatMap((parameter) => [parameter, `step of ${parameter}`])],
});

/** The record of a call by shares. */
export function sharesRecord(
  args: Readonly<Record<string, Argument>>,
  numbers: Readonly<Record<(typeof head)[number], number>>,
): Record<string, number> {
  const pairs = Object.entries(args).flatMap(([name, arg]) => {
    const { at, step } = typeof arg === "object" ? arg : { at: arg === "count" ? 0 : arg, step: 0 };
    return [[name, at] as const, [`step of ${name}`, step] as const];
  });
  return { ...numbers, ...Object.fromEntries(pairs) };
}

/** Adds the kernel by shares of `func`; `count` is the parameter that says how much there is. */
export function defineShares(m: ModuleBuilder, name: string, func: Func<Parameters>, count: string): void {
  const parameters = Object.keys(func.parameters);
  defineKernel(m, sharesSignature(name, parameters), (f, fields, { from, to }) => {
    const [item, first, units] = f.locals("i32", 3);
    f.for(item, from, to, 1, () => {
      f.set(first, i32.mul(item, fields.share));
      f.set(units, i32.sub(fields.units, first));
      f.set(units, select(fields.share, units, i32.lt_u(fields.share, units)));
      const operand = (parameter: string) =>
        parameter === count
          ? i32.mul(units, fields.unit)
          : i32.add(fields[parameter], i32.mul(first, fields[`step of ${parameter}`]));
      const operands = Object.fromEntries(parameters.map((parameter) => [parameter, operand(parameter)]));
      const result = call(func, operands);
      if (result.type === "i32") f.emit(i32.store(i32.add(fields.results, i32.shl(item, 2)), result as never));
      else f.emit(result as never);
    });
  });
}
