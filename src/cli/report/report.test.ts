import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { scaleOf, ticksOf } from "./axes.js";
import type { ComparedScheme, Report } from "./data.js";
import { placeLabels } from "./labels.js";
import { reportPage, verdict } from "./page.js";
import { paretoFront } from "./pareto.js";
import { binaryTicks } from "./quality-plot.js";
import { partOf } from "./tensor-plot.js";

const identity = (entry: readonly [number, number]) => entry;
const front = (points: readonly (readonly [number, number])[]) =>
  paretoFront(
    points,
    (point) => identity(point)[0],
    (point) => identity(point)[1],
  );

test("no point of all beats one on the Pareto front, and one on the front matches or beats every point", () => {
  const point = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }));
  fc.assert(
    fc.property(fc.array(point, { minLength: 1 }), (points) => {
      const best = front(points);
      const beats = (a: readonly number[], b: readonly number[]) =>
        a[0] <= b[0] && a[1] <= b[1] && (a[0] < b[0] || a[1] < b[1]);
      for (const one of best) assert.ok(!points.some((other) => beats(other, one)));
      for (const one of points) assert.ok(best.some((other) => other[0] <= one[0] && other[1] <= one[1]));
    }),
  );
});

test("ticks of a logarithmic scale are few and inside its range, whatever the range", () => {
  fc.assert(
    fc.property(
      fc.double({ min: -8, max: 3, noNaN: true }),
      fc.double({ min: 0.3, max: 8, noNaN: true }),
      (low, decades) => {
        const scale = scaleOf("log", [10 ** low, 10 ** (low + decades)], [0, 100]);
        const ticks = ticksOf(scale);
        const [from, to] = scale.domain();
        assert.ok(ticks.length >= 1 && ticks.length <= 12, `${ticks}`);
        assert.ok(ticks.every((tick) => tick >= from && tick <= to));
      },
    ),
  );
});

test("ticks of file sizes are round in binary", () => {
  assert.deepEqual(
    binaryTicks([1.4 * 2 ** 20, 4.6 * 2 ** 20]),
    [1.5, 2, 2.5, 3, 3.5, 4, 4.5].map((mib) => mib * 2 ** 20),
  );
});

test("labels of points that lie apart do not cover each other", () => {
  const points = [0, 1, 2, 3].map((i) => ({ x: 100 + 40 * i, y: 100 + 30 * i, text: "int4-g32" }));
  const places = placeLabels(points, [points], { x: 0, y: 0, width: 400, height: 400 });
  const boxes = places.map(({ anchor, x, y }) => {
    const start = x - { start: 0, middle: 25, end: 50 }[anchor];
    return { left: start, right: start + 50, top: y - 10, bottom: y + 2 };
  });
  boxes.forEach((a, i) => {
    for (const b of boxes.slice(i + 1)) {
      assert.ok(a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top);
    }
  });
});

test("tensors are sorted into parts under the names of both containers", () => {
  assert.equal(partOf("model.layers.0.self_attn.q_proj.weight"), "attention");
  assert.equal(partOf("blk.0.attn_output.weight"), "attention");
  assert.equal(partOf("model.layers.0.mlp.down_proj.weight"), "mlp");
  assert.equal(partOf("blk.0.ffn_gate.weight"), "mlp");
  assert.equal(partOf("token_embd.weight"), "embedding");
  assert.equal(partOf("lm_head.weight"), "embedding");
});

const row = (scheme: string, bytes: number, deltaNll: number): ComparedScheme => ({
  scheme,
  kind: "integer",
  output: `${scheme}.gguf`,
  bytes,
  bitsPerWeight: bytes / 1000,
  perplexity: 30,
  nll: 3.4,
  tokensPerSecond: 100,
  sample: " <b>&",
  deltaNll,
  deltaNllCi95: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
  kl: Math.max(0, deltaNll),
  klCi95: [0, 1],
  top1Agreement: 0.9,
  quantizeSeconds: 1,
  tensors: [{ name: "lm_head.weight", shape: [2, 2], scheme, bytes: 4, relativeMse: deltaNll === 0 ? 0 : 0.01 }],
});

const report = (rows: readonly ComparedScheme[]): Report => ({
  title: "a <title>",
  facts: [["engine", "x & y"]],
  prompt: "The",
  original: {
    scheme: "bf16",
    bytes: 9000,
    bitsPerWeight: 16,
    perplexity: 30,
    nll: 3.4,
    tokensPerSecond: 99,
    sample: "",
  },
  rows,
});

test("the page is whole and finite for one scheme, for a lossless one, and for equal ones", () => {
  for (const rows of [[row("q4_0", 2000, 0.02)], [row("f16", 9000, 0)], [row("a", 1, 0.1), row("b", 1, 0.1)]]) {
    const page = reportPage(report(rows));
    assert.doesNotMatch(page, /NaN|undefined|="-?Infinity/);
    assert.equal(page.match(/<svg/g)?.length, page.match(/<\/svg>/g)?.length);
  }
});

test("the page escapes text and refers to nothing outside itself", () => {
  const page = reportPage(report([row("q4_0", 2000, 0.02)]));
  assert.match(page, /a &lt;title&gt;/);
  assert.doesNotMatch(page, / <b>&|<script|https?:|url\(|src=/);
});

test("the verdict names the smallest scheme within a hundredth of a nat", () => {
  assert.match(
    verdict(report([row("big", 4000, 0.001), row("small", 3000, 0.01), row("tiny", 1000, 1)])),
    /^small is .* tiny, is 9.0/,
  );
});
