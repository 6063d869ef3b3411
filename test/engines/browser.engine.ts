/**
 * The kernels in a real browser: a worker of a page opens a GGUF file, multiplies under every scheme and generates text, and
 * its bits are those of this Node. With headers that isolate the page, memory is shared and there are two threads; without
 * them one thread works in memory of its own.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, openAsBlob, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { quantizeModel } from "../../src/quantize/index.js";
import { type BrowserOutcome, type BrowserWork, work } from "./browser-work.js";

const BROWSERS = [process.env.CHROME_PATH ?? "", "chromium", "chromium-browser", "google-chrome"];
const browser = BROWSERS.find((name) => name && spawnSync(name, ["--version"]).status === 0);
const skip = browser
  ? false
  : "skipped, because no browser of the Chromium family is here: install one or set CHROME_PATH";

const build = fileURLToPath(new URL("../../", import.meta.url));
const demo = fileURLToPath(new URL("../../../demo", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "bitloom-browser-"));
const model = join(folder, "model.gguf");

before(async () => {
  if (!skip) await quantizeModel({ input: demo, output: model, scheme: "q4_0" });
});
after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
const page = (asked: BrowserWork) =>
  `<!doctype html><script type="module">
    const url = "/test/engines/browser-worker.js?asked=" + encodeURIComponent(${JSON.stringify(JSON.stringify(asked))});
    const worker = new Worker(url, { type: "module" });
    worker.onerror = (event) =>
      fetch("/outcome", { method: "POST", body: JSON.stringify({ error: event.message + " " + event.filename }) });
  </script>`;

/** Serves a page that does what is asked, the compiled modules and the model; resolves with what the page sends back. */
function inBrowser(asked: BrowserWork, headers: Readonly<Record<string, string>>): Promise<BrowserOutcome> {
  let process: ChildProcess | undefined;
  const profile = mkdtempSync(join(folder, "profile-"));
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`];
  return new Promise<BrowserOutcome>((resolve, reject) => {
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? "/", "http://localhost");
      const send = (type: string, body: string | Uint8Array) =>
        response.writeHead(200, { "Content-Type": type, ...headers }).end(body);
      if (pathname === "/") send("text/html", page(asked));
      else if (pathname === "/model.gguf") send("application/octet-stream", readFileSync(model));
      else if (pathname === "/outcome") {
        let body = "";
        request.setEncoding("utf8").on("data", (part: string) => {
          body += part;
        });
        request.on("end", () => {
          send("text/plain", "");
          finish(JSON.parse(body));
        });
      } else if (pathname.endsWith(".js")) send("text/javascript", readFileSync(join(build, normalize(pathname))));
      else response.writeHead(404).end();
    });
    const finish = ({ outcome, error }: { outcome?: BrowserOutcome; error?: string }) => {
      clearTimeout(patience);
      server.close();
      server.closeAllConnections();
      process?.once("exit", () => (outcome ? resolve(outcome) : reject(new Error(error))));
      process?.kill();
    };
    const patience = setTimeout(() => finish({ error: "the page sent nothing for two minutes" }), 120_000);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      process = spawn(browser ?? "", [...flags, `http://127.0.0.1:${port}/`], { stdio: "ignore" });
      process.once("error", reject);
    });
  });
}

const title = "a page computes the products of every scheme and greedy text to the bits of this Node";
for (const activations of ["f32", "int8"] as const) {
  for (const [threads, headers, where] of [
    [2, ISOLATED, "isolated, two threads in shared memory"],
    [1, {}, "not isolated, one thread"],
  ] as const) {
    test(`${title}: activations ${activations}, ${where}`, { skip }, async () => {
      const asked = { backend: "wasm", threads: 2, activations };
      const { features, ...got } = await inBrowser(asked, headers);
      const { features: _, ...own } = await work({ ...asked, threads: 1 }, await openAsBlob(model));
      assert.equal(got.threads, threads);
      assert.ok(features.includes("simd128"));
      assert.ok(Object.keys(got.products).length >= 10);
      assert.equal(got.ids.length, 24);
      assert.deepEqual(got, { ...own, threads });
    });
  }
}
