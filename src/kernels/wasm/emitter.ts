/**
 * A typed builder that writes WebAssembly modules directly as bytes. An expression is a value type and the code that
 * leaves one such value on the stack, so `i32x4.add(a, b)` type-checks in TypeScript and costs nothing at run time; a
 * function body is written with statements (`set`, `emit`, `loop`, `if`), which append to the body in order:
 *
 *     const m = createModule({ maximumPages: 65536 });
 *     m.func("sum", { from: "i32", count: "i32" }, "f32", (f, { from, count }) => {
 *       const total = f.local("f32");
 *       const i = f.local("i32");
 *       f.for(i, 0, count, 1, () => f.set(total, f32.add(total, f32.load(i32.add(from, i32.shl(i, 2))))));
 *       return total;
 *     });
 *     const bytes = m.bytes();
 *
 * instructions.ts holds the instructions. Source: WebAssembly Core 3.0, section 5 (binary format).
 */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Code as a tree of bytes: operands are shared, not copied, until a function body flattens them. */
export type Code = readonly (number | Code)[];

export interface Expression<T extends ValueType | "void" = ValueType | "void"> {
  readonly type: T;
  readonly code: Code;
  /** For addresses: which memory they point into. What is reckoned from an address points into the same. Default: 0. */
  readonly space?: number;
}

/** Something that leaves nothing on the stack. */
export type Statement = Expression<"void">;

export interface Local<T extends ValueType = ValueType> extends Expression<T> {
  readonly index: number;
  /** That of what it was set to last, in the order of the code. */
  space?: number;
}

/** A place to branch to: the end of a block or the start of a loop. */
export interface Label {
  readonly depth: number;
}

/** Where a plain number is an obvious constant it may stand for one. */
export type Operand<T extends ValueType> = T extends "v128" ? Expression<T> : Expression<T> | number;

const typeCodes: Readonly<Record<ValueType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** LEB128, unsigned, up to 2^53. */
export function unsigned(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    out.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return out;
}

/** LEB128, signed. */
export function signed(value: bigint): number[] {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    const done = (rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0);
    out.push(done ? low : low | 0x80);
    if (done) return out;
  }
}

/** The bytes of a little-endian number as `write` stores them. */
function littleEndian(size: number, write: (view: DataView) => void): number[] {
  const bytes = new Uint8Array(size);
  write(new DataView(bytes.buffer));
  return [...bytes];
}

/** A constant of type `type`. */
export function constant<T extends "i32" | "i64" | "f32" | "f64">(type: T, value: number | bigint): Expression<T> {
  switch (type) {
    case "i32":
      return { type, code: [0x41, ...signed(BigInt(Number(value) | 0))] };
    case "i64":
      return { type, code: [0x42, ...signed(BigInt.asIntN(64, BigInt(value)))] };
    case "f32":
      return { type, code: [0x43, ...littleEndian(4, (view) => view.setFloat32(0, Number(value), true))] };
    default:
      return { type, code: [0x44, ...littleEndian(8, (view) => view.setFloat64(0, Number(value), true))] };
  }
}

/** An operand as an expression: numbers become constants of the wanted type. */
export function expression<T extends ValueType>(type: T, operand: Operand<T>): Expression<T> {
  if (typeof operand !== "number") return operand as Expression<T>;
  return constant(type as "i32", operand) as unknown as Expression<T>;
}

function flatten(code: Code, out: number[]): void {
  for (const part of code) {
    if (typeof part === "number") out.push(part);
    else flatten(part, out);
  }
}

/** Writes the body of one function. */
export class FunctionBuilder {
  readonly #body: number[] = [];
  readonly #locals: ValueType[] = [];
  readonly #parameters: number;
  #depth = 0;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  /** A new local variable, zero at first. */
  local<T extends ValueType>(type: T): Local<T> {
    const index = this.#parameters + this.#locals.length;
    this.#locals.push(type);
    return getLocal(type, index);
  }

  /** `count` new local variables. */
  locals<T extends ValueType>(type: T, count: number): Local<T>[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /** A new local that holds `value`: a name for something used more than once. */
  let<T extends ValueType>(value: Expression<T>): Local<T> {
    const local = this.local(value.type);
    this.set(local, value as Operand<T>);
    return local;
  }

  emit(...statements: readonly Statement[]): void {
    for (const statement of statements) flatten(statement.code, this.#body);
  }

  set<T extends ValueType>(local: Local<T>, value: Operand<T>): void {
    const held = expression(local.type, value);
    flatten([held.code, 0x21, unsigned(local.index)], this.#body);
    local.space = held.space;
  }

  /** Sets the local and is its new value. */
  tee<T extends ValueType>(local: Local<T>, value: Operand<T>): Expression<T> {
    const held = expression(local.type, value);
    local.space = held.space;
    return { type: local.type, code: [held.code, 0x22, unsigned(local.index)], space: held.space };
  }

  /** local += step, for addresses and counters. */
  advance(local: Local<"i32">, step: Operand<"i32">): void {
    if (step === 0) return;
    flatten([local.code, expression("i32", step).code, 0x6a, 0x21, unsigned(local.index)], this.#body);
  }

  /** A block; branching to its label leaves it. */
  block(body: (end: Label) => void): void {
    this.#nest(0x02, body);
  }

  /** A loop; branching to its label starts the next round, falling off the end leaves it. */
  loop(body: (next: Label) => void): void {
    this.#nest(0x03, body);
  }

  if(condition: Expression<"i32">, then: () => void, otherwise?: () => void): void {
    flatten(condition.code, this.#body);
    this.#nest(0x04, () => {
      then();
      if (otherwise) {
        this.#body.push(0x05);
        otherwise();
      }
    });
  }

  branch(label: Label): void {
    this.#body.push(0x0c, ...unsigned(this.#depth - label.depth));
  }

  branchIf(label: Label, condition: Expression<"i32">): void {
    flatten([condition.code, 0x0d, unsigned(this.#depth - label.depth)], this.#body);
  }

  /** for (counter = from; counter < below; counter += step) body(), in unsigned arithmetic. */
  for(counter: Local<"i32">, from: Operand<"i32">, below: Operand<"i32">, step: number, body: () => void): void {
    const inside: Expression<"i32"> = { type: "i32", code: [counter.code, expression("i32", below).code, 0x49] };
    this.set(counter, from);
    this.if(inside, () =>
      this.loop((next) => {
        body();
        this.advance(counter, step);
        this.branchIf(next, inside);
      }),
    );
  }

  /** do body() while (--counter > 0): the cheapest loop, for counts known to be at least 1. */
  repeat(counter: Local<"i32">, count: Operand<"i32">, body: () => void): void {
    this.set(counter, count);
    this.loop((next) => {
      body();
      const left: Expression<"i32"> = { type: "i32", code: [counter.code, 0x41, 1, 0x6b] };
      this.branchIf(next, this.tee(counter, left));
    });
  }

  return(value?: Expression): void {
    flatten([value?.code ?? [], 0x0f], this.#body);
  }

  /** The function's entry in the code section. */
  bytes(result?: Expression): number[] {
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    const locals = [...unsigned(runs.length), ...runs.flatMap((run) => [...unsigned(run.count), typeCodes[run.type]])];
    const tail: number[] = [];
    if (result) flatten(result.code, tail);
    const size = locals.length + this.#body.length + tail.length + 1;
    return [...unsigned(size), ...locals, ...this.#body, ...tail, 0x0b];
  }

  #nest(opcode: number, body: (label: Label) => void): void {
    this.#body.push(opcode, 0x40);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#body.push(0x0b);
  }
}

function getLocal<T extends ValueType>(type: T, index: number): Local<T> {
  return { type, index, code: [0x20, unsigned(index)] };
}

export type Parameters = Readonly<Record<string, ValueType>>;
export type Arguments<P extends Parameters> = { readonly [K in keyof P]: Local<P[K]> };

/** A function of the module under construction, to be called from another one. */
export interface Func<P extends Parameters = Parameters, R extends ValueType | "void" = ValueType | "void"> {
  readonly index: number;
  readonly parameters: P;
  readonly result: R;
}

/** Calls `func` with operands in the order of its parameters. */
export function call<P extends Parameters, R extends ValueType | "void">(
  func: Func<P, R>,
  operands: { readonly [K in keyof P]: Operand<P[K]> },
): Expression<R> {
  const names = Object.keys(func.parameters);
  const code = names.map((name) => expression(func.parameters[name], operands[name] as Operand<ValueType>).code);
  return { type: func.result, code: [...code, 0x10, unsigned(func.index)] };
}

export interface MemoryLimits {
  /** Imported as env.memory; sizes in pages of 64 KiB. */
  readonly initialPages?: number;
  readonly maximumPages?: number;
  readonly shared?: boolean;
  /** Addresses are i64 (memory64). */
  readonly wide?: boolean;
  /** A second memory of the same kind is imported as env.weights. */
  readonly weights?: boolean;
}

/** A type of functions that are called by their place in the table. */
export interface IndirectType<P extends Parameters = Parameters, R extends ValueType | "void" = ValueType | "void"> {
  readonly type: number;
  readonly parameters: P;
  readonly result: R;
}

/** Calls the function at `place` of the table `env.table`, with operands in the order of its parameters. */
export function callIndirect<P extends Parameters, R extends ValueType | "void">(
  { type, parameters, result }: IndirectType<P, R>,
  place: Operand<"i32">,
  operands: { readonly [K in keyof P]: Operand<P[K]> },
): Expression<R> {
  const code = Object.keys(parameters).map((name) => {
    return expression(parameters[name], operands[name] as Operand<ValueType>).code;
  });
  return { type: result, code: [...code, expression("i32", place).code, 0x11, unsigned(type), 0x00] };
}

export interface ModuleBuilder {
  readonly memory: MemoryLimits;
  /** A type for `callIndirect`; the module then imports a table of functions as `env.table`. */
  indirect<P extends Parameters, R extends ValueType | "void">(parameters: P, result: R): IndirectType<P, R>;
  /** Adds a function; it is exported unless its name starts with "$". The body returns the result's expression. */
  func<P extends Parameters, R extends ValueType | "void">(
    name: string,
    parameters: P,
    result: R,
    body: (f: FunctionBuilder, args: Arguments<P>) => R extends ValueType ? Expression<R> : void,
  ): Func<P, R>;
  bytes(): Uint8Array<ArrayBuffer>;
}

/** A module that imports its memory as `env.memory`. */
export function createModule(memory: MemoryLimits = {}): ModuleBuilder {
  const types = new Map<string, { index: number; code: number[] }>();
  const functions: { name: string; type: number; code: number[] }[] = [];
  const memories = memory.weights ? ["memory", "weights"] : ["memory"];
  const imports = memories.map((one) => [...name("env"), ...name(one), 0x02, ...limits(memory)]);

  const typeIndex = (parameters: readonly ValueType[], result: ValueType | "void") => {
    const key = `${parameters.join(" ")} > ${result}`;
    let type = types.get(key);
    if (!type) {
      const results = result === "void" ? [0] : [1, typeCodes[result]];
      const code = [0x60, ...unsigned(parameters.length), ...parameters.map((p) => typeCodes[p]), ...results];
      type = { index: types.size, code };
      types.set(key, type);
    }
    return type.index;
  };

  return {
    memory,
    indirect(parameters, result) {
      if (imports.length === memories.length) imports.push([...name("env"), ...name("table"), 0x01, 0x70, 0x00, 0x00]);
      return { type: typeIndex(Object.values(parameters), result), parameters, result };
    },
    func(name, parameters, result, body) {
      const entries = Object.entries(parameters);
      const builder = new FunctionBuilder(entries.length);
      const args = Object.fromEntries(entries.map(([key, type], index) => [key, getLocal(type, index)]));
      const value = body(builder, args as Arguments<typeof parameters>);
      const type = typeIndex(Object.values(parameters), result);
      functions.push({ name, type, code: builder.bytes(value ? (value as Expression) : undefined) });
      return { index: functions.length - 1, parameters, result };
    },
    bytes() {
      const exported = functions.map((f, index) => ({ ...f, index })).filter((f) => !f.name.startsWith("$"));
      return new Uint8Array([
        ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
        ...section(1, vector([...types.values()].map((type) => type.code))),
        ...section(2, vector(imports)),
        ...section(3, vector(functions.map((f) => unsigned(f.type)))),
        ...section(7, vector(exported.map((f) => [...name(f.name), 0x00, ...unsigned(f.index)]))),
        ...section(10, vector(functions.map((f) => f.code))),
      ]);
    },
  };
}

function limits({ initialPages = 0, maximumPages, shared = false, wide = false }: MemoryLimits): number[] {
  const flags = (maximumPages === undefined ? 0 : 1) | (shared ? 2 : 0) | (wide ? 4 : 0);
  return [flags, ...unsigned(initialPages), ...(maximumPages === undefined ? [] : unsigned(maximumPages))];
}

function section(id: number, content: number[]): number[] {
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly number[][]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function name(text: string): number[] {
  const bytes = new TextEncoder().encode(text);
  return [...unsigned(bytes.length), ...bytes];
}
