import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * Examples of docs/: the TypeScript blocks that import from the package. A line `CODE; // => VALUE` says what its expression,
 * or the constant that it declares, is; typed arrays count as lists.
 */
const root = fileURLToPath(new URL("../../", import.meta.url));
const { exports: entries } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const docs = join(root, "docs");

const blocksOf = (file: string) =>
  [...readFileSync(join(docs, file), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)]
    .map(([, block]) => block)
    .filter((block) => block.includes('from "bitloom'));

/** The built file behind `bitloom/formats`, in the build that this test is of. */
const entryOf = (name: string) => {
  const target: string = entries[name.replace("bitloom", ".")];
  return new URL(target.replace("./dist/", "../"), import.meta.url).href;
};

/** The block as a module whose claims are calls of `check`. */
const moduleOf = (block: string) =>
  block
    .replaceAll(/from "(bitloom[^"]*)"/g, (_, name) => `from "${entryOf(name)}"`)
    .replaceAll(/^(?:(const (\w+) = .*?;)|(.*?);) \/\/ => (.*)$/gm, (_, declaration, name, expression, value) =>
      declaration ? `${declaration} check(${name}, ${value});` : `check(${expression}, ${value});`,
    );

const plain = (value: unknown): unknown =>
  ArrayBuffer.isView(value) ? [...(value as unknown as Iterable<unknown>)] : value;

for (const file of readdirSync(docs).filter((name) => name.endsWith(".md"))) {
  blocksOf(file).forEach((block, i) => {
    const first = block.split("\n").find((line) => line.includes("// =>")) ?? block.split("\n", 1)[0];
    test(`docs/${file}, example ${i + 1} gives what it says: ${first.trim()}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "bitloom-docs-"));
      try {
        let checks = 0;
        const check = (got: unknown, wanted: unknown) => {
          assert.deepEqual(plain(got), wanted);
          checks++;
        };
        const example = join(folder, "example.mjs");
        writeFileSync(
          example,
          `export default async (check) => {${bodyOf(moduleOf(block))}};\n${importsOf(moduleOf(block))}`,
        );
        await (await import(pathToFileURL(example).href)).default(check);
        assert.ok(checks > 0, "the example claims nothing");
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
}

const isImport = (line: string) => line.startsWith("import ");
const importsOf = (module: string) => module.split("\n").filter(isImport).join("\n");
const bodyOf = (module: string) =>
  module
    .split("\n")
    .filter((line) => !isImport(line))
    .join("\n");
