import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { bitloom, ROOT, spawnBitloom, temporaryFolder, withoutDemo } from "./bitloom.js";

const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });
const folder = temporaryFolder();
const text = join(folder, "text.txt");
writeFileSync(text, readFileSync(join(ROOT, withoutDemo ? "README.md" : "demo/held-out.txt"), "utf8").slice(0, 1200));

interface Sized {
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
}
interface Evaluated {
  readonly tokens: number;
  readonly nll: number;
  readonly nllCi95: readonly number[];
  readonly perplexity: number;
  readonly kl: number;
  readonly top1Agreement: number;
}
interface Generated {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

/** Runs with --json; standard output must be one document of the command's schema and nothing else. */
async function document<T>(args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await bitloom([...args, "--json", "--quiet"]);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  const parsed = JSON.parse(stdout) as T & { schema: string };
  const validate = ajv.compile(JSON.parse(readFileSync(join(ROOT, "docs", "schemas", `${args[0]}.json`), "utf8")));
  const valid: boolean = validate(parsed);
  assert.ok(valid, JSON.stringify(validate.errors?.slice(0, 3)));
  assert.equal(parsed.schema, `bitloom.${args[0]}/1`);
  return parsed;
}

test("errors follow their schema too", async () => {
  const { stdout } = await bitloom(["quantise", "--json"]);
  const validate = ajv.compile(JSON.parse(readFileSync(join(ROOT, "docs", "schemas", "error.json"), "utf8")));
  assert.ok(validate(JSON.parse(stdout)), JSON.stringify(validate.errors));
});

test("schemes, methods and doctor print one document that their schema admits", async () => {
  const { schemes } = await document<{ schemes: { name: string; bitsPerWeight: number }[] }>(["schemes"]);
  const bits = Object.fromEntries(schemes.map((one) => [one.name, one.bitsPerWeight]));
  assert.deepEqual([bits.q4_0, bits.q8_0, bits.mxfp4], [4.5, 8.5, 4.25]);
  const { methods } = await document<{ methods: { name: string }[] }>(["methods"]);
  assert.ok(methods.some(({ name }) => name === "rtn"));
  const { backends } = await document<{ backends: { works: boolean }[] }>(["doctor"]);
  assert.ok(backends.every((backend) => backend.works));
});

test("bench prints one document for each of its verbs, which the same schema admits", async () => {
  const kernels = await document<{ results: { op: string }[] }>(["bench", "kernels", "--quick", "--only", "rmsNorm"]);
  assert.deepEqual(
    kernels.results.map(({ op }) => op),
    ["rmsNorm"],
  );
  const planned = await document<{ plans: { plan: string }[] }>(["bench", "plan", "--scheme", "q4_0"]);
  assert.match(planned.plans[0].plan, /bits a weight/);
  if (withoutDemo) return;
  const model = await document<{ plans: { count: number }[] }>(["bench", "plan", "demo"]);
  assert.ok(model.plans.some(({ count }) => count > 1));
  const decoded = await document<{ bytesPerToken: number; tokensPerSecond: number }>([
    ...["bench", "decode", "demo", "--prompt", "8", "--tokens", "4", "--runs", "1", "--threads", "1"],
  ]);
  assert.ok(decoded.tokensPerSecond > 0 && decoded.bytesPerToken > 4_000_000);
});

test("bench quality measures methods and recipes on the same tokens and keeps rows of other runs", {
  skip: withoutDemo,
}, async () => {
  const [recipe, kept] = [join(folder, "eight.json"), join(folder, "kept.json")];
  writeFileSync(recipe, JSON.stringify({ recipe: 1, steps: [{ quantize: "rtn", scheme: "q8_0" }] }));
  const old = { model: "other", scheme: "q4_0", method: "rtn" };
  writeFileSync(kept, JSON.stringify({ rows: [old, { ...old, model: "demo" }] }));
  const flags = ["--to", "q4_0", "--method", "rtn", "--recipe", recipe, "--tokens", "64", "--keep", kept];
  interface Row {
    readonly model: string;
    readonly method: string;
    readonly tokens: number;
    readonly kl: number;
  }
  const { rows } = await document<{ rows: Row[] }>(["bench", "quality", "demo", ...flags]);
  assert.deepEqual(
    rows.map(({ method, tokens }) => [method, tokens]),
    [
      ["rtn", 64],
      ["eight", 64],
    ],
  );
  assert.ok(rows[1].kl < rows[0].kl, "eight bits cost less than four");
  assert.deepEqual(JSON.parse(readFileSync(kept, "utf8")).rows, [old, ...rows]);
});

test("bench without a verb, or with one too many or unknown, says what it wanted", async () => {
  for (const args of [[], ["decode"], ["plan", "--scheme", "q4_0", "demo"], ["kernels", "demo"]]) {
    const { code, stderr } = await bitloom(["bench", ...args]);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /try: bitloom bench/);
  }
  const { code, stderr } = await bitloom(["bench", "speed"]);
  assert.equal(code, 2);
  assert.match(stderr, /unknown measurement "speed"\n +try: one of: kernels, decode, plan, quality/);
});

test("bench refuses options of another verb, and help says which verb takes which", async () => {
  for (const args of [
    ["decode", "demo", "--only", "gemv"],
    ["kernels", "--quick", "--method", "rtn"],
    ["plan", "demo", "--tokens", "4"],
    ["plan", "demo", "--shape", "4x4"],
  ]) {
    const { code, stderr } = await bitloom(["bench", ...args]);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, new RegExp(`${args[2].startsWith("--") ? args[2] : args[1]}.*\\n +why: `));
  }
  const { stdout } = await bitloom(["bench", "--help"]);
  assert.match(stdout, /--tokens <n>\s+decode: tokens to make \(default: 64\); quality: tokens/);
});

test("inspect, quantize, eval, run and tokenize print one document that their schema admits", {
  skip: withoutDemo,
}, async () => {
  const output = join(folder, "q4_0.gguf");
  const quantized = await document<Sized>(["quantize", "demo", "--to", "q4_0", "-o", output]);
  const inspected = await document<Sized>(["inspect", output]);
  assert.equal(quantized.bytes, inspected.bytes);
  assert.equal(quantized.bitsPerWeight, inspected.bitsPerWeight);
  assert.deepEqual(
    quantized.tensors.map((one) => [one.name, one.bytes]),
    inspected.tensors.map((one) => [one.name, one.bytes]),
  );
  const evaluated = await document<Evaluated>(["eval", output, "--text", text, "--against", "demo", "--tokens", "200"]);
  assert.equal(evaluated.tokens, 200);
  assert.ok(Math.abs(Math.exp(evaluated.nll) - evaluated.perplexity) < 1e-9 * evaluated.perplexity);
  assert.ok(evaluated.kl > 0 && evaluated.top1Agreement <= 1);
  const generated = await document<Generated>(["run", output, "--prompt", "Call me", "--tokens", "12"]);
  assert.ok(generated.tokenIds.length <= 12);
  const { ids, count } = await document<{ ids: number[]; count: number }>(["tokenize", "demo", "--text", text]);
  assert.equal(ids.length, count);
});

test("quantize --report writes a page that names every tensor and the steps of the recipe", {
  skip: withoutDemo,
}, async () => {
  const [output, page] = [join(folder, "paged.gguf"), join(folder, "page.html")];
  const { tensors } = await document<Sized>(["quantize", "demo", "--to", "q4_0", "-o", output, "--report", page]);
  const html = readFileSync(page, "utf8");
  for (const { name } of tensors) assert.ok(html.includes(`<td>${name}</td>`), name);
  assert.match(html, /<dt>step 1<\/dt><dd>quantize rtn, scheme q4_0 /);
  assert.equal(html.match(/<circle/g)?.length, 36, "one mark for each of the 36 matrices");
});

test("a recipe file does what the flags do, byte for byte", { skip: withoutDemo }, async () => {
  const recipe = join(folder, "recipe.json");
  const steps = [{ quantize: "mse", scheme: "q4_0", options: { steps: 4 } }];
  writeFileSync(recipe, JSON.stringify({ recipe: 1, steps }));
  const [short, long] = [join(folder, "short.gguf"), join(folder, "long.gguf")];
  const flags = ["--to", "q4_0", "--method", "mse", "--set", "steps=4"];
  await document(["quantize", "demo", ...flags, "-o", short]);
  await document(["quantize", "demo", "--recipe", recipe, "-o", long]);
  assert.ok(readFileSync(short).equals(readFileSync(long)));
});

test("a dry run tells the exact sizes and writes nothing", { skip: withoutDemo }, async () => {
  const out = temporaryFolder();
  const path = join(out, "x.gguf");
  const planned = await document<Sized>(["quantize", "demo", "--to", "q5_1", "-o", path, "--dry-run"]);
  assert.deepEqual(readdirSync(out), []);
  const written = await document<Sized>(["quantize", "demo", "--to", "q5_1", "-o", path]);
  const bytes = (result: Sized) => result.tensors.map((one) => one.bytes);
  assert.deepEqual(bytes(planned), bytes(written));
  assert.equal(planned.bitsPerWeight, written.bitsPerWeight);
});

test("a dry run estimates time and memory by the tensors' sizes, and says when it cannot", {
  skip: withoutDemo,
}, async () => {
  interface Forecast extends Sized {
    readonly scratchBytes: number;
    readonly estimatedSeconds: number | null;
    readonly estimatedPeakBytes: number | null;
  }
  const args = ["quantize", "demo", "--to", "q4_0", "-o", join(folder, "forecast.gguf"), "--dry-run"];
  const plain = await document<Forecast>(args);
  assert.ok(plain.estimatedSeconds !== null && plain.estimatedSeconds > 0);
  // The embedding, 2048 x 256, as f32 twice.
  assert.ok(plain.estimatedPeakBytes !== null && plain.estimatedPeakBytes > 8 * 2048 * 256);
  assert.equal(plain.scratchBytes, 0);
  const { estimatedSeconds, ...rest } = await document<Forecast>([...args, "--method", "gptq"]);
  assert.deepEqual([estimatedSeconds, rest.scratchBytes], [null, rest.bytes]);
  // 32 windows of 512 tokens, 256 numbers each, before and after a layer.
  assert.ok(rest.estimatedPeakBytes !== null && rest.estimatedPeakBytes > 8 * 32 * 512 * 256);
});

test("plan tries the first layer out, tells how long all will take, and leaves nothing behind", {
  skip: withoutDemo,
}, async () => {
  interface Tried extends Sized {
    readonly estimatedSeconds: number;
    readonly steps: readonly { readonly tensors: readonly string[]; readonly json: { readonly quantize?: string } }[];
    readonly kept: readonly string[];
    readonly rehearsal: { readonly unit: string; readonly bytes: number; readonly outputError?: number };
  }
  const out = temporaryFolder();
  const calibrated = [
    "--to",
    "q4_0",
    "--method",
    "imatrix",
    "--set",
    "steps=2",
    "--calibrate",
    join(ROOT, "demo/held-out.txt"),
  ];
  for (const how of [["--to", "int4-g32"], calibrated]) {
    const planned = await document<Tried>([
      "plan",
      "demo",
      ...how,
      "-o",
      join(out, how === calibrated ? "x.gguf" : "x"),
    ]);
    assert.deepEqual(readdirSync(out), []);
    assert.equal(planned.steps.flatMap(({ tensors }) => tensors).length + planned.kept.length, planned.tensors.length);
    assert.equal(planned.rehearsal.unit, "layers.0");
    const error = planned.rehearsal.outputError ?? 0;
    assert.ok(error > 0 && error < 0.1, `${error}`);
    assert.ok(planned.estimatedSeconds > 0);
  }
});

test("quantize --explain says which step takes which tensors, and writes nothing", { skip: withoutDemo }, async () => {
  const out = temporaryFolder();
  const flags = ["--to", "q4_0", "--tensor-type", "token_embd=q8_0", "--transform", "awq", "--method", "gptq"];
  const { code, stdout } = await bitloom(["quantize", "demo", ...flags, "-o", join(out, "x.gguf"), "--explain"]);
  assert.equal(code, 0);
  assert.deepEqual(readdirSync(out), []);
  assert.match(stdout, /step 1: transform awq/);
  assert.match(stdout, /step 2: quantize gptq, scheme q8_0[\s\S]*on 1 tensor: token_embd\.weight/);
  assert.match(stdout, /step 3: quantize gptq, scheme q4_0[\s\S]*on 35 tensors/);
});

/** Runs with --stream: every line but the last follows the schema of the command's parts, the last its document's. */
async function lines<P, T>(part: string, args: readonly string[]): Promise<{ parts: readonly P[]; result: T }> {
  const { code, stdout, stderr } = await bitloom([...args, "--stream", "--quiet"]);
  assert.equal(code, 0, stderr);
  const parsed = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const result = parsed.pop();
  const check = (name: string, documents: readonly unknown[]) => {
    const schema = JSON.parse(readFileSync(join(ROOT, "docs", "schemas", `${name}.json`), "utf8"));
    const validate = ajv.compile(schema);
    for (const one of documents) assert.ok(validate(one), JSON.stringify(validate.errors?.slice(0, 3)));
  };
  check(part, parsed);
  check(args[0], [result]);
  return { parts: parsed.map(({ schema: _, ...rest }) => rest), result };
}

test("with --stream every token, tensor and step is a line of its own, and the last line the whole document", {
  skip: withoutDemo,
}, async () => {
  type Piece = { readonly id: number | null; readonly text: string };
  const run = await lines<Piece, Generated>("run.token", ["run", "demo", "--prompt", "Call me", "--tokens", "8"]);
  assert.equal(run.parts.map(({ text }) => text).join(""), run.result.text);
  assert.deepEqual(
    run.parts.map(({ id }) => id).filter((id) => id !== null),
    run.result.tokenIds,
  );
  const output = join(folder, "stream.gguf");
  const quantized = await lines<object, Sized>("quantize.tensor", ["quantize", "demo", "--to", "q4_0", "-o", output]);
  assert.deepEqual(quantized.parts, quantized.result.tensors);
  type Step = { readonly tokens: number; readonly total: number; readonly nll: number };
  const args = ["eval", "demo", "--text", text, "--tokens", "200"];
  const evaluated = await lines<Step, Evaluated>("eval.progress", args);
  const last = evaluated.parts[evaluated.parts.length - 1];
  assert.deepEqual([last.tokens, last.total], [200, 200]);
  // Sums of 200 numbers in two orders.
  assert.ok(Math.abs(last.nll - evaluated.result.nll) < 1e-12 * evaluated.result.nll);
});

test("with --stream an error is one line too, and a command without parts has no --stream", async () => {
  const { code, stdout } = await bitloom(["run", "nope", "--prompt", "x", "--stream"]);
  assert.equal(code, 3);
  assert.equal(stdout.indexOf("\n"), stdout.length - 1);
  assert.equal(JSON.parse(stdout).id, "BL-IN-001");
  assert.equal((await bitloom(["inspect", "demo", "--stream"])).code, 2);
});

test("explain takes ids in any case and kinds in words, and lists all", async () => {
  type Explained = { readonly errors: readonly { readonly id: string; readonly kind: string }[] };
  const { errors } = await document<Explained>(["explain", "bl-in-003", "missing-tensor"]);
  assert.deepEqual(
    errors.map(({ id }) => id),
    ["BL-IN-003", "BL-IN-007"],
  );
  const all = await document<Explained>(["explain"]);
  assert.ok(all.errors.length > 40);
  assert.match((await bitloom(["explain", "BL-IN-003"])).stdout, /^BL-IN-003: a file that ends too early \(exit 3\)\n/);
});

test("the same seed gives the same text, and the text of --json is the text that is printed", {
  skip: withoutDemo,
}, async () => {
  const args = ["run", "demo", "--prompt", "The sea", "--tokens", "16", "--seed", "5"];
  const [plain, again, json, other] = await Promise.all([
    bitloom(args),
    bitloom([...args, "--threads", "1"]),
    document<Generated>(args),
    document<Generated>([...args, "--seed", "6"]),
  ]);
  assert.equal(plain.stdout, again.stdout);
  assert.equal(plain.stdout, `${json.text}\n`);
  assert.equal(plain.stderr, "");
  assert.notEqual(json.text, other.text);
});

test("text goes to ids and back without a changed byte, as numbers or as JSON", { skip: withoutDemo }, async () => {
  const original = readFileSync(text, "utf8");
  const plain = await bitloom(["tokenize", "demo", "--text", text]);
  const json = await spawnBitloom(["tokenize", "demo", "--text", "-", "--json"], { input: original });
  for (const input of [plain.stdout, json.stdout]) {
    const back = await spawnBitloom(["tokenize", "demo", "--decode", "--text", "-"], { input });
    assert.equal(back.code, 0, back.stderr);
    assert.equal(back.stdout, original);
  }
});

test("an id that the vocabulary has not is refused with its place", { skip: withoutDemo }, async () => {
  const { code, stderr } = await spawnBitloom(["tokenize", "demo", "--decode", "--text", "-"], {
    input: "1 2 99999999",
  });
  assert.equal(code, 2);
  assert.match(stderr, /number 3/);
});

test("a missed --max-kl prints the result and ends with 5; a met one ends with 0", { skip: withoutDemo }, async () => {
  const model = join(folder, "int2");
  assert.equal((await bitloom(["quantize", "demo", "--to", "int2-g32-asym", "-o", model])).code, 0);
  const args = ["eval", model, "--text", text, "--against", "demo", "--tokens", "128", "--json"];
  const missed = await bitloom([...args, "--max-kl", "0.001"]);
  assert.equal(missed.code, 5, missed.stderr);
  assert.equal(JSON.parse(missed.stdout).schema, "bitloom.eval/1");
  assert.match(missed.stderr, /misses the quality limit/);
  assert.equal((await bitloom([...args, "--max-kl", "100"])).code, 0);
});

test("quality does not depend on the number of threads: every digit is the same on one thread and two", {
  skip: withoutDemo,
}, async () => {
  const args = ["eval", "demo", "--text", text, "--tokens", "130"];
  const [one, two] = await Promise.all([
    document<Evaluated>([...args, "--threads", "1"]),
    document<Evaluated>([...args, "--threads", "2"]),
  ]);
  assert.deepEqual([one.nll, one.nllCi95], [two.nll, two.nllCi95]);
});

test("standard output off a terminal holds no escape sequence, and a bar is drawn nowhere", {
  skip: withoutDemo,
}, async () => {
  const results = await Promise.all([
    spawnBitloom(["eval", "demo", "--text", text, "--tokens", "64"]),
    spawnBitloom(["inspect", "nope"]),
  ]);
  for (const { stdout, stderr } of results) assert.ok(!`${stdout}${stderr}`.includes("\x1b"));
});

test("the demo writes the models, a report and its numbers", { skip: withoutDemo }, async () => {
  const out = join(folder, "out");
  const result = await document<{ rows: { kl: number; bytes: number }[]; report: string }>([
    "demo",
    "--to",
    "q8_0,int3-g32",
    "--tokens",
    "128",
    "-o",
    out,
  ]);
  assert.deepEqual(readdirSync(out).sort(), ["int3-g32", "q8_0.gguf", "report.html", "report.json"]);
  assert.deepEqual(JSON.parse(readFileSync(join(out, "report.json"), "utf8")), result);
  const [q8, int3] = result.rows;
  assert.ok(q8.kl < int3.kl && q8.bytes > int3.bytes);
  assert.ok(existsSync(result.report));
});
