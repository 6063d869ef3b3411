import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ERROR_IDS, type ErrorKind } from "../../src/errors.js";
import { bitloom, MAIN, ROOT, spawnBitloom, temporaryFolder, withoutDemo } from "./bitloom.js";

const folder = temporaryFolder();
const text = join(folder, "text.txt");
writeFileSync(text, "Call me Ishmael. ".repeat(40));

/** Command lines that make no sense, and what their message must hold. */
const WRONG_USAGE: readonly (readonly [string, readonly string[], RegExp])[] = [
  ["an unknown command", ["quantise", "demo"], /unknown command "quantise"\n +try: did you mean "quantize"\?/],
  ["an unknown command after help", ["help", "nope"], /unknown command "nope"\n +try: one of: inspect, /],
  ["an unknown option", ["inspect", "demo", "--jsn"], /unknown option "--jsn"\n +try: did you mean --json\?/],
  ["a missing argument", ["inspect"], /missing required argument "FILE_OR_DIR"\n +try: bitloom inspect --help/],
  ["an argument too many", ["doctor", "x"], /too many arguments/],
  ["no command at all", ["--quiet"], /no command is given/],
  [
    "an unknown error id",
    ["explain", "BL-XX-999"],
    /unknown error id "BL-XX-999"\n +try: bitloom explain lists them all/,
  ],
  ["a missing option", ["quantize", "demo", "--to", "q4_0"], /-o, --output <path> must be given/],
  ["neither a scheme nor a recipe", ["quantize", "demo", "-o", "x"], /either --to or --recipe must be given/],
  [
    "an option that the method has not",
    ["quantize", "demo", "--to", "q4_0", "--set", "damping=1", "-o", "x"],
    /no option/,
  ],
  ["an option without its value", ["run", "demo", "--prompt"], /argument missing/],
  [
    "an unknown scheme",
    ["quantize", "demo", "--to", "q4_9", "-o", "x"],
    /unknown scheme "q4_9"\n +try: did you mean .*"q4_0"/,
  ],
  ["two letters that changed places", ["plan", "demo", "--method", "gtpq", "-o", "x"], /did you mean "gptq"\?/],
  [
    "a number format where a scheme is wanted",
    ["quantize", "demo", "--to", "int8", "-o", "x"],
    /unknown scheme "int8"\n +try: did you mean "int8-row" or "int8-g32"\?/,
  ],
  [
    "a recipe beside what it says itself",
    ["quantize", "demo", "--recipe", "r.json", "--method", "gptq", "-o", "x"],
    /--method and --recipe cannot be given together/,
  ],
  ["a number out of range", ["run", "demo", "-p", "x", "--tokens", "0"], /got "0", wanted an integer of at least 1/],
  [
    "a word for a number",
    ["run", "demo", "-p", "x", "--temperature", "hot"],
    /got "hot", wanted a number of at least 0/,
  ],
  ["an unknown backend", ["run", "demo", "-p", "x", "--backend", "cuda"], /unknown backend "cuda"/],
  ["--max-kl without a base", ["eval", "demo", "--text", text, "--max-kl", "1"], /--max-kl needs --against/],
];

for (const [what, args, message] of WRONG_USAGE) {
  test(`${what} ends with 2 and says what is wrong, before any model is opened`, async () => {
    const { code, stdout, stderr } = await bitloom(args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /^error\[BL-US-\d\d\d\]: .*\n(.*\n)* {2}more: bitloom explain BL-US-\d\d\d \(exit 2; /);
    assert.match(stderr, message);
  });
}

test("a model that is not there ends with 3 for every verb that reads one", async () => {
  const missing = join(folder, "missing.gguf");
  const lines = [
    ["inspect", missing],
    ["quantize", missing, "--to", "q4_0", "-o", join(folder, "out.gguf")],
    ["eval", missing, "--text", text],
    ["run", missing, "--prompt", "x"],
    ["tokenize", missing, "--text", text],
  ];
  for (const args of lines) {
    const { code, stdout, stderr } = await bitloom(args);
    assert.equal(code, 3, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /missing\.gguf/);
    assert.match(stderr, /no such file or folder/);
  }
});

test("a text that is not there ends with 3, one that is not UTF-8 with 2", { skip: withoutDemo }, async () => {
  const missing = await bitloom(["tokenize", "demo", "--text", join(folder, "missing.txt")]);
  assert.equal(missing.code, 3, missing.stderr);
  const binary = join(folder, "binary.txt");
  writeFileSync(binary, Uint8Array.of(0x41, 0xff, 0x41));
  const wrong = await bitloom(["tokenize", "demo", "--text", binary]);
  assert.equal(wrong.code, 2, wrong.stderr);
  assert.match(wrong.stderr, /not UTF-8/);
});

test("a file that is no model ends with 3 and names the file", async () => {
  for (const name of ["model.gguf", "model.safetensors"]) {
    const path = join(folder, name);
    writeFileSync(path, "this is no model");
    const { code, stderr } = await bitloom(["inspect", path]);
    assert.equal(code, 3, stderr);
    assert.ok(stderr.includes(name), stderr);
  }
});

test("every sort of bad file and text is told from the others by its id", async () => {
  const header = (json: string) => {
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
    return Buffer.concat([length, Buffer.from(json)]);
  };
  const tensor = (begin: number, end: number) => ({ dtype: "F32", shape: [1], data_offsets: [begin, end] });
  const two = (a: object, b: object) => header(JSON.stringify({ a, b }));
  const files: readonly (readonly [name: string, content: Uint8Array, kind: ErrorKind])[] = [
    ["empty.gguf", new Uint8Array(0), "not-a-model"],
    ["picture.gguf", Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), "not-a-model"],
    ["archive.bin", Uint8Array.of(0x50, 0x4b, 0x03, 0x04, 0, 0, 0, 0), "foreign-file"],
    ["cut.gguf", Buffer.concat([Buffer.from("GGUF"), Uint8Array.of(3, 0, 0, 0, 1, 0, 0)]), "truncated-file"],
    [
      "old.gguf",
      Buffer.concat([Buffer.from("GGUF"), Uint8Array.of(1, 0, 0, 0), new Uint8Array(32)]),
      "unsupported-version",
    ],
    ["cut.safetensors", two(tensor(0, 4), tensor(4, 8)), "tensor-outside-file"],
    ["overlap.safetensors", Buffer.concat([two(tensor(0, 4), tensor(2, 6)), Buffer.alloc(6)]), "overlapping-tensors"],
    ["damaged.safetensors", header('{"a": nonsense}'), "bad-header"],
  ];
  for (const [name, content, kind] of files) {
    const path = join(folder, name);
    writeFileSync(path, content);
    const { code, stderr } = await bitloom(["inspect", path]);
    assert.ok(stderr.startsWith(`error[${ERROR_IDS[kind]}]: `), `${name}: ${stderr}`);
    assert.equal(code, kind === "foreign-file" || kind === "unsupported-version" ? 4 : 3);
    assert.equal(stderr.match(/^error/gm)?.length, 1);
    assert.doesNotMatch(stderr, /\n +at /);
  }
});

test("a scheme that the container cannot hold ends with 4 and leaves nothing", { skip: withoutDemo }, async () => {
  const out = temporaryFolder();
  const { code, stderr } = await bitloom(["quantize", "demo", "--to", "int3-g32", "-o", join(out, "x.gguf")]);
  assert.equal(code, 4, stderr);
  assert.match(stderr, /why: .*\n +try: /);
  assert.deepEqual(readdirSync(out), []);
});

test("an output that cannot be written ends with 6", { skip: withoutDemo }, async () => {
  const { code, stderr } = await bitloom(["quantize", "demo", "--to", "q4_0", "-o", join(text, "x.gguf")]);
  assert.equal(code, 6, stderr);
});

test("a report or an importance matrix that cannot be written ends with 6 before the work, which leaves nothing", {
  skip: withoutDemo,
}, async () => {
  const out = temporaryFolder();
  const report = ["quantize", "demo", "--to", "q4_0", "-o", join(out, "x.gguf"), "--report", join(text, "x.html")];
  for (const args of [report, ["imatrix", "demo", "-o", join(text, "x.gguf")]]) {
    const { code, stderr } = await bitloom(args);
    assert.equal(code, 6, stderr);
    assert.match(stderr, /cannot write .*\n.*\n.*is a file, not a folder/);
  }
  assert.deepEqual(readdirSync(out), []);
});

test("an output in a place that holds no folders ends with 6, and soon", {
  skip: withoutDemo || (existsSync("/proc/self") ? false : "skipped, because there is no /proc"),
}, async () => {
  const { code, stderr } = await bitloom(["quantize", "demo", "--to", "q4_0", "-o", "/proc/bitloom/x.gguf"]);
  assert.equal(code, 6, stderr);
});

test("standard output on a full device ends with 6", {
  skip: existsSync("/dev/full") ? false : "skipped, because there is no /dev/full",
}, async () => {
  const { status, stderr } = spawnSync("sh", ["-c", `"$0" "$1" schemes > /dev/full`, process.execPath, MAIN], {
    encoding: "utf8",
  });
  assert.equal(status, 6, stderr);
  assert.match(stderr, /ENOSPC/);
});

test("an output that is the input is refused with 2, and the input stays as it is", { skip: withoutDemo }, async () => {
  const model = join(folder, "same.gguf");
  const made = await bitloom(["quantize", "demo", "--to", "q8_0", "-o", model]);
  assert.equal(made.code, 0, made.stderr);
  const before = await bitloom(["inspect", model, "--json"]);
  const { code, stderr } = await bitloom(["quantize", model, "--to", "q4_0", "-o", join(folder, ".", "same.gguf")]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /would overwrite the input/);
  assert.equal((await bitloom(["inspect", model, "--json"])).stdout, before.stdout);
  const folderOut = await bitloom(["quantize", "demo", "--to", "q4_0", "-o", join(ROOT, "demo")]);
  assert.equal(folderOut.code, 2, folderOut.stderr);
});

test("with --json the error is the one document on standard output, and standard error says it too", async () => {
  const { code, stdout, stderr } = await bitloom(["quantize", "demo", "--to", "q4_9", "-o", "x", "--json"]);
  assert.equal(code, 2);
  const document = JSON.parse(stdout);
  assert.deepEqual(
    [document.schema, document.error, document.id, document.message, document.exitCode],
    ["bitloom.error/1", "InputError", "BL-US-004", 'unknown scheme "q4_9"', 2],
  );
  assert.match(stderr, /unknown scheme/);
});

test("the stack of an error is shown with BITLOOM_DEBUG only", async () => {
  const plain = await spawnBitloom(["quantise"]);
  assert.doesNotMatch(plain.stderr, /\n +at /);
  const debug = await spawnBitloom(["quantise"], { env: { BITLOOM_DEBUG: "1" } });
  assert.match(debug.stderr, /\n +at /);
});
