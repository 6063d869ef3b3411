import assert from "node:assert/strict";
import { test } from "node:test";
import { styleFor } from "../terminal.js";
import { embed } from "./embed.js";

test("both ends of an interval are printed with the same number of decimals", () => {
  const engine = { backend: "wasm", threads: 1, exactness: "deterministic", features: [], fallbacks: [] };
  const size = { model: "small", bytes: 1, bitsPerWeight: 4, texts: 2, tokens: 8, shortened: 0, vectors: [] };
  const found = {
    against: "base",
    cosineError: 0.1,
    cosineErrorCi95: [0.1, 0.2],
    top1Ci95: [0.5, 1],
    top10Ci95: [1, 1],
  };
  const result = { ...size, ...found, tokensPerSecond: 1, seconds: 1, engine };
  const text = embed.render(result, styleFor(process.stderr), {});
  assert.match(text, /same nearest +100\.00 % +\(95 %: 50\.00 % to 100\.00 %\)/);
});
