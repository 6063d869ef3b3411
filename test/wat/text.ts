/**
 * The text of a module that the emitter wrote, one statement a line, operands folded into it. What an instruction is
 * called and takes is read off the instructions themselves; kernel-text.test.ts has watr, an independent assembler, turn
 * the text back into the same bytes.
 */
import { type Code, constant, type Expression, type ValueType } from "../../src/kernels/wasm/emitter.js";
import * as instructions from "../../src/kernels/wasm/instructions.js";
import { type Signature, v128 } from "../../src/kernels/wasm/instructions.js";

interface Instruction extends Signature {
  readonly name: string;
}

const flat = (code: Code): number[] => code.flatMap((part) => (typeof part === "number" ? [part] : flat(part)));

const sample: Readonly<Record<ValueType, Expression>> = {
  ...{ i32: constant("i32", 0), i64: constant("i64", 0), f32: constant("f32", 0), f64: constant("f64", 0) },
  v128: v128.const(new Uint8Array(16)),
};

/** Bytes of the immediates that follow an opcode, when all are 0. */
const immediateBytes = { none: 0, offset: 2, lane: 1, "offset lane": 3, lanes: 16 } as const;

/** Instructions by their opcode's bytes. */
const byOpcode = new Map<string, Instruction>();
for (const [prefix, namespace] of Object.entries(instructions)) {
  if (typeof namespace !== "object") continue;
  for (const [name, make] of Object.entries(namespace) as [string, { signature?: Signature }][]) {
    const { signature } = make;
    if (!signature) continue;
    const operands = signature.operands.map((type) => sample[type]);
    const kind = signature.immediate ?? "none";
    const immediates = { none: [], offset: [0], lane: [0], "offset lane": [0, 0], lanes: [new Array(16).fill(0)] }[
      kind
    ];
    // Lanes stand behind the first operand of an instruction, offsets behind the last.
    const ordered = kind === "lane" ? [operands[0], 0, ...operands.slice(1)] : [...operands, ...immediates];
    const whole = kind === "offset lane" ? [...operands, 0, 0] : ordered;
    const { code } = (make as unknown as (...args: unknown[]) => Expression)(...whole);
    const start = operands.reduce((sum, operand) => sum + flat(operand.code).length, 0);
    const bytes = flat(code).slice(start);
    const opcode = bytes.slice(0, bytes.length - immediateBytes[kind]);
    byOpcode.set(opcode.join(" "), {
      ...signature,
      name: `${prefix}.${name.replace("atomic_", "atomic.").replace("rmw_", "rmw.")}`,
    });
  }
}

const typeNames: Readonly<Record<number, string>> = { 127: "i32", 126: "i64", 125: "f32", 124: "f64", 123: "v128" };

class Reader {
  readonly #bytes: Uint8Array;
  at: number;
  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }
  byte(): number {
    return this.#bytes[this.at++];
  }
  unsigned(): number {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      scale *= 128;
      if (byte < 128) return value;
    }
  }
  signed(): bigint {
    let [value, shift] = [0n, 0n];
    for (;;) {
      const byte = this.byte();
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte < 128) return BigInt.asIntN(Number(shift), value);
    }
  }
  take(count: number): Uint8Array {
    this.at += count;
    return this.#bytes.slice(this.at - count, this.at);
  }
  list<T>(read: () => T): T[] {
    return Array.from({ length: this.unsigned() }, read);
  }
  name(): string {
    return new TextDecoder().decode(this.take(this.unsigned()));
  }
}

interface FunctionType {
  readonly parameters: readonly string[];
  readonly results: readonly string[];
}

/** The text of each exported function by its name, and of the whole module. */
export function textOf(bytes: Uint8Array): {
  readonly functions: ReadonlyMap<string, string>;
  readonly module: string;
} {
  const r = new Reader(bytes, 8);
  const typeName = () => typeNames[r.byte()];
  const functionType = (): FunctionType => {
    r.byte();
    return { parameters: r.list(typeName), results: r.list(typeName) };
  };
  let types: FunctionType[] = [];
  let used: number[] = [];
  let memory = "";
  const names = new Map<number, string>();
  const functions = new Map<string, string>();
  while (r.at < bytes.length) {
    const [id, size] = [r.byte(), r.unsigned()];
    const end = r.at + size;
    if (id === 1) types = r.list(functionType);
    else if (id === 2) {
      r.list(() => [r.name(), r.name(), r.byte()]);
      r.at = end;
      memory = '(import "env" "memory" (memory 0))';
    } else if (id === 3) used = r.list(() => r.unsigned());
    else if (id === 7) r.list(() => exported(r, names));
    else if (id === 10) {
      let index = 0;
      r.list(() => {
        r.unsigned();
        const name = names.get(index) ?? `$${index}`;
        functions.set(name, functionText(r, name, types[used[index++]]));
      });
    }
    r.at = end;
  }
  return { functions, module: `(module ${memory}\n${[...functions.values()].join("\n")})` };
}

function exported(r: Reader, names: Map<number, string>): void {
  const name = r.name();
  r.byte();
  names.set(r.unsigned(), name);
}

function functionText(r: Reader, name: string, { parameters, results }: FunctionType): string {
  const locals = r.list(() => [r.unsigned(), typeNames[r.byte()]] as const);
  const declared = locals.map(([count, type]) => `(local${` ${type}`.repeat(count)})`);
  const head = [
    `(func (export "${name}")`,
    ...(parameters.length > 0 ? [`(param ${parameters.join(" ")})`] : []),
    ...(results.length > 0 ? [`(result ${results.join(" ")})`] : []),
    ...declared,
  ];
  return `${head.join(" ")}\n${bodyText(r)})`;
}

/** Statements up to the function's end. */
function bodyText(r: Reader): string {
  const lines: string[] = [];
  const stack: string[] = [];
  let depth = 0;
  const pop = (count: number) => stack.splice(stack.length - count, count).join(" ");
  const say = (text: string) => lines.push(`${"  ".repeat(depth + 1)}${text}`);
  for (;;) {
    const opcode = r.byte();
    switch (opcode) {
      case 0x02:
      case 0x03:
        r.byte();
        say(opcode === 2 ? "(block" : "(loop");
        depth++;
        break;
      case 0x04:
        r.byte();
        say(`(if ${pop(1)} (then`);
        depth++;
        break;
      case 0x05:
        depth--;
        say(") (else");
        depth++;
        break;
      case 0x0b:
        if (depth === 0) return [...lines, ...stack.map((value) => `  ${value}`)].join("\n");
        depth--;
        say(opens(lines, depth) === "if" ? "))" : ")");
        break;
      case 0x0c:
        say(`(br ${r.unsigned()})`);
        break;
      case 0x0d:
        say(`(br_if ${r.unsigned()} ${pop(1)})`);
        break;
      case 0x0f:
        say(`(return ${pop(stack.length)})`);
        break;
      case 0x1b:
        stack.push(`(select ${pop(3)})`);
        break;
      case 0x20:
        stack.push(`(local.get ${r.unsigned()})`);
        break;
      case 0x21:
        say(`(local.set ${r.unsigned()} ${pop(1)})`);
        break;
      case 0x22:
        stack.push(`(local.tee ${r.unsigned()} ${pop(1)})`);
        break;
      case 0x41:
        stack.push(`(i32.const ${r.signed()})`);
        break;
      case 0x42:
        stack.push(`(i64.const ${r.signed()})`);
        break;
      case 0x43:
        stack.push(`(f32.const ${new DataView(r.take(4).buffer).getFloat32(0, true)})`);
        break;
      default: {
        const bulk = bulkName(r, opcode);
        if (bulk) {
          say(`(${bulk} ${pop(3)})`);
          break;
        }
        const { name, operands, result, immediate } = instructionAt(r, opcode);
        if (name === "v128.const") {
          const words = new Uint32Array(r.take(16).buffer);
          stack.push(`(v128.const i32x4 ${[...words].map((word) => `0x${word.toString(16)}`).join(" ")})`);
          break;
        }
        const offset = immediate?.startsWith("offset") ? memoryText(r, name) : "";
        const lanes = immediate === "lanes" ? 16 : immediate?.endsWith("lane") ? 1 : 0;
        const text = `(${name}${offset}${Array.from({ length: lanes }, () => ` ${r.byte()}`).join("")} ${pop(operands.length)})`;
        if (result === "void") say(text);
        else stack.push(text);
      }
    }
  }
}

/** What the innermost construct that is still open at `depth` is. */
function opens(lines: readonly string[], depth: number): string {
  const indent = "  ".repeat(depth + 1);
  const line = lines.findLast((text) => text.startsWith(`${indent}(`) && /^\s*\((if|block|loop)\b/.test(text));
  return line?.trim().match(/^\((\w+)/)?.[1] ?? "";
}

/** memory.copy and memory.fill, whose immediates are memories. */
function bulkName(r: Reader, first: number): string | undefined {
  const start = r.at;
  const kind = first === 0xfc ? r.unsigned() : 0;
  if (kind === 10 || kind === 11) {
    r.take(kind === 10 ? 2 : 1);
    return kind === 10 ? "memory.copy" : "memory.fill";
  }
  r.at = start;
  return undefined;
}

function instructionAt(r: Reader, first: number): Instruction {
  const prefixed = first === 0xfc || first === 0xfd || first === 0xfe;
  if (!prefixed) return known([first]);
  const start = r.at;
  r.unsigned();
  const length = r.at - start;
  r.at = start;
  const rest = [...r.take(length)];
  if (first === 0xfd && rest[0] === 12 && length === 1) return { name: "v128.const", operands: [], result: "v128" };
  return known([first, ...rest]);
}

function known(opcode: readonly number[]): Instruction {
  const found = byOpcode.get(opcode.join(" "));
  if (!found) throw new Error(`no instruction has the opcode ${opcode.join(" ")}`);
  return found;
}

/** Alignment and offset: vector accesses declare alignment 1 in our code, scalar ones their natural alignment. */
function memoryText(r: Reader, name: string): string {
  r.unsigned();
  const offset = r.unsigned();
  return `${offset === 0 ? "" : ` offset=${offset}`}${name.startsWith("v128") ? " align=1" : ""}`;
}
