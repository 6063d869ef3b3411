/** What holds for every container: all schemes return unchanged, and damaged files are refused, never believed. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  type ByteSource,
  bufferSource,
  type Checkpoint,
  containerFor,
  containers,
  gguf,
  type Metadata,
  openCheckpoint,
  openGguf,
  openSafetensorsFile,
  openSafetensorsFolder,
} from "../../src/checkpoints/index.js";
import { BitloomError } from "../../src/errors.js";
import { scheme, schemes } from "../../src/formats/index.js";
import { randomWord } from "../../src/random.js";
import { type PackedTensor, quantize } from "../../src/tensor/index.js";

const folder = mkdtempSync(join(tmpdir(), "bitloom-containers-"));
after(() => rmSync(folder, { recursive: true }));
const FAMILIES = [
  "int4-g32",
  "int3-g64",
  "int8-row",
  "int4-g64-asym",
  "int5-row-asym",
  "e2m1-g32",
  "e3m2-g16",
  "e4m3fn-g128",
  "e4m3fn",
  "e5m2",
  "int4-4x32",
  "bitmod3-g64",
  "mxfp4+",
];
const SHAPES = [[2, 512], [3, 50], [77], [], [2, 2, 256], [0, 32], [1, 1]];

function tensorOf(name: string, shape: readonly number[]): PackedTensor {
  const count = shape.reduce((product, n) => product * n, 1);
  return quantize(
    Float32Array.from({ length: count }, (_, i) => Math.sin(i * 7 + shape.length)),
    shape,
    scheme(name),
  );
}

/** Every scheme in every shape that the container holds, written and read again. */
async function roundTrip(path: string): Promise<[string, PackedTensor][]> {
  const container = containerFor(path);
  const tensors = [...schemes.names, ...FAMILIES].flatMap((name) =>
    SHAPES.filter((shape) => container.canHold(scheme(name), shape) === true).map((shape): [string, PackedTensor] => [
      `${name} [${shape.join(",")}].weight`,
      tensorOf(name, shape),
    ]),
  );
  const byName = new Map(tensors);
  const plans = tensors.map(([name, { shape, scheme }]) => ({ name, shape, scheme }));
  const metadata: Metadata = container.name === "gguf" ? { "general.architecture": "llama" } : { model_type: "llama" };
  const written = await container.write(path, {
    metadata,
    tensors: plans,
    produce: async ({ name }) => byName.get(name) as PackedTensor,
  });
  const checkpoint = await openCheckpoint(path);
  assert.equal(checkpoint.container, container.name);
  assert.equal(checkpoint.bytes, written.bytes);
  for (const { name, bytes } of written.tensors) {
    const entry = checkpoint.tensors.find((tensor) => tensor.name === name);
    const wanted = byName.get(name) as PackedTensor;
    assert.deepEqual(
      [entry?.scheme?.name, entry?.shape, entry?.bytes],
      [wanted.scheme.name, wanted.shape, bytes],
      name,
    );
    assert.deepEqual((await checkpoint.read(name)).planes, wanted.planes, name);
  }
  assert.equal(checkpoint.tensors.length, tensors.length);
  await checkpoint.close();
  return tensors;
}

test("every scheme returns from a safetensors folder with the same planes, whatever the shape", async () => {
  const tensors = await roundTrip(join(folder, "model"));
  assert.equal(tensors.length, (schemes.names.length + FAMILIES.length) * SHAPES.length);
});

test("every scheme that GGUF holds returns from a GGUF file with the same planes", async () => {
  const held = new Set((await roundTrip(join(folder, "model.gguf"))).map(([, tensor]) => tensor.scheme.name));
  for (const name of ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4"])
    assert.ok(held.has(name), name);
});

test("containers are told apart by content, and other files by what they are", async () => {
  for (const [path, name] of [
    ["model", "safetensors"],
    ["model/model.safetensors", "safetensors"],
    ["model.gguf", "gguf"],
  ]) {
    for (const container of containers.entries) {
      assert.equal(await container.detect(join(folder, path)), container.name === name, `${container.name} ${path}`);
    }
  }
  await assert.rejects(openCheckpoint(join(folder, "nothing")), /cannot open/);
  await assert.rejects(openCheckpoint(new URL(import.meta.url).pathname), /is no model file/);
  await assert.rejects(openCheckpoint(join(folder, "model/config.json")), /no model file/);
  assert.throws(() => containerFor("x/model.safetensors"), /single safetensors file/);
  await assert.rejects(openCheckpoint(folder), (error: BitloomError) => /model\.gguf/.test(error.details.try ?? ""));
});

test("nothing of Node is loaded until a path is opened, so that a browser bundle can leave it out", () => {
  const seen = new Set<string>();
  const visit = (module: URL): void => {
    if (seen.has(module.href)) return;
    seen.add(module.href);
    for (const [, name] of readFileSync(module, "utf8").matchAll(/^(?:import|export) [^;]*?from "([^"]+)"/gms)) {
      assert.ok(!name.startsWith("node:"), `${module.pathname} imports ${name}`);
      if (name.startsWith(".")) visit(new URL(name, module));
    }
  };
  visit(new URL("../../src/checkpoints/index.js", import.meta.url));
  assert.ok(seen.size > 20, `${seen.size} modules`);
});

/** Random numbers of one test case. */
function dice(seed: number) {
  let drawn = 0;
  return (below: number) => randomWord(seed, 0, drawn++) % Math.max(1, below);
}
type Dice = ReturnType<typeof dice>;

const EXTREMES = [
  0n,
  1n,
  2n,
  31n,
  255n,
  2n ** 16n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** One way to damage a file; most of the damage goes to the front, where the header is. */
const DAMAGES: Readonly<Record<string, (file: Uint8Array, roll: Dice, front: number) => Uint8Array>> = {
  flip(file, roll, front) {
    for (let n = roll(4); n >= 0; n--) file[roll(front)] ^= 1 << roll(8);
    return file;
  },
  truncate: (file, roll) => file.subarray(0, roll(file.length)),
  extend: (file, roll) => Uint8Array.from([...file, ...new Array(1 + roll(64)).fill(roll(256))]),
  number(file, roll, front) {
    const at = roll(Math.max(1, Math.min(front, file.length - 8)));
    new DataView(file.buffer, file.byteOffset).setBigUint64(at, EXTREMES[roll(EXTREMES.length)], true);
    return file;
  },
  small(file, roll, front) {
    new DataView(file.buffer, file.byteOffset).setUint32(roll(Math.min(front, file.length - 4)), roll(64), true);
    return file;
  },
  splice(file, roll, front) {
    const [from, to, length] = [roll(front), roll(front), roll(64)];
    return Uint8Array.from([...file.subarray(0, to), ...file.subarray(from, from + length), ...file.subarray(to)]);
  },
  remove: (file, roll, front) => {
    const at = roll(front);
    return Uint8Array.from([...file.subarray(0, at), ...file.subarray(at + 1 + roll(16))]);
  },
  digit(file, roll, front) {
    const digits = [...file.subarray(0, front).entries()].filter(([, byte]) => byte >= 0x30 && byte <= 0x39);
    if (digits.length > 0) file[digits[roll(digits.length)][0]] = 0x30 + roll(10);
    return file;
  },
};

/** A source that proves that nothing outside of it, and not much more than all of it, is asked for. */
function watched(name: string, bytes: Uint8Array): ByteSource & { asked: number } {
  const inner = bufferSource(name, bytes);
  const source = {
    ...inner,
    asked: 0,
    async read(offset: number, length: number) {
      source.asked += Math.min(length, bytes.length);
      return (await inner.read(offset, length)).slice();
    },
  };
  return source;
}

/** Opens and reads everything; the error if it is one of ours. */
async function outcome(open: () => Promise<Checkpoint>): Promise<"read" | BitloomError> {
  try {
    const checkpoint = await open();
    for (const { name, scheme } of checkpoint.tensors) {
      const tensor = scheme ? await checkpoint.read(name) : undefined;
      if (tensor) assert.equal(tensor.scheme, scheme);
    }
    return "read";
  } catch (error) {
    if (error instanceof BitloomError) return error;
    throw error;
  }
}

/** Damages `file` in `cases` ways; every outcome must be a reading or an error that says where. */
async function survives(
  name: string,
  file: Uint8Array,
  front: number,
  cases: number,
  open: (source: ByteSource) => Promise<Checkpoint>,
): Promise<void> {
  assert.equal(await outcome(() => open(bufferSource(name, file))), "read");
  const kinds = Object.keys(DAMAGES);
  let refused = 0;
  for (let seed = 0; seed < cases; seed++) {
    const roll = dice(seed);
    const kind = kinds[roll(kinds.length)];
    // One case in eight damages the data as well.
    const reach = roll(8) === 0 ? file.length : front;
    const source = watched(name, DAMAGES[kind](file.slice(), roll, reach));
    try {
      const found = await outcome(() => open(source));
      if (found === "read") continue;
      refused++;
      assert.ok(found.message.length > 0 && found.details.where, `no place: ${found.message}`);
    } catch (error) {
      throw new Error(`${name}, damage "${kind}", seed ${seed}`, { cause: error });
    }
    assert.ok(source.asked <= 4 * source.size + 64, `seed ${seed} read ${source.asked} of ${source.size} bytes`);
  }
  assert.ok(refused > cases / 4, `only ${refused} of ${cases} damaged files were refused`);
}

/** Small valid files of both containers. */
async function samples() {
  const path = (name: string) => join(folder, name);
  const tensors: Record<string, PackedTensor> = {
    "a.weight": tensorOf("q4_0", [2, 64]),
    "b.weight": tensorOf("f32", [7]),
    "c.weight": tensorOf("mxfp4", [1, 2, 32]),
    "d.weight": tensorOf("bf16", [3, 5]),
  };
  const plans = Object.entries(tensors).map(([name, { shape, scheme }]) => ({ name, shape, scheme }));
  const content = (metadata: Metadata) => ({
    metadata,
    tensors: plans,
    produce: async ({ name }: { name: string }) => tensors[name],
  });
  const keys = {
    "general.architecture": "llama",
    "general.alignment": gguf.u32(32),
    "tokenizer.ggml.tokens": ["a", "b", "ä"],
    "tokenizer.ggml.scores": [0, 1, 2],
    "x.nested": { type: "array", of: "array", value: [{ type: "array", of: "u8", value: [1, 2] }] },
    "x.flag": true,
    "x.wide": 2 ** 40,
  };
  await containerFor("x.gguf").write(path("small.gguf"), content(keys));
  await containerFor("x").write(path("small"), content({ model_type: "llama" }), { maxFileBytes: 60 });
  const read = (name: string) => new Uint8Array(readFileSync(path(name)));
  const files = readdirSync(path("small")).map((name) => [name, read(join("small", name))] as const);
  return { gguf: read("small.gguf"), files: new Map(files) };
}
const small = await samples();

test("3000 damaged GGUF files end in our errors with a place, or are still readable", async () => {
  const front = small.gguf.length - 400;
  await survives("small.gguf", small.gguf, front, 3000, openGguf);
});

test("3000 damaged safetensors files end in our errors with a place, or are still readable", async () => {
  const [, file] = [...small.files].find(([name]) => name.endsWith(".safetensors")) ?? ["", new Uint8Array()];
  const front = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  await survives("small.safetensors", file, front, 3000, openSafetensorsFile);
});

test("3000 folders with one damaged file end in our errors with a place, or are still readable", async () => {
  for (const damaged of small.files.keys()) {
    const file = small.files.get(damaged) as Uint8Array;
    const open = (source: ByteSource) =>
      openSafetensorsFolder({
        name: "small",
        names: [...small.files.keys()],
        open: async (name) => (name === damaged ? source : bufferSource(name, small.files.get(name) as Uint8Array)),
      });
    const cases = Math.ceil(3000 / small.files.size);
    await survives(damaged, file, file.length, cases, open);
  }
});
