/** Quality against bytes: one point a scheme, its name beside it, a line through those that no other beats. */
import { scaleSymlog } from "d3-scale";
import { byteSize, significant } from "../numbers.js";
import { type Area, type Axis, drawAxes, type Scale, scaleOf } from "./axes.js";
import type { ComparedScheme } from "./data.js";
import { type Point, placeLabels } from "./labels.js";
import { paretoFront } from "./pareto.js";
import { element, escapeText, label, path } from "./svg.js";

const AREA: Area = { width: 560, height: 400, top: 40, right: 24, bottom: 48, left: 68 };
const X_RANGE = [AREA.left, AREA.width - AREA.right] as const;
const Y_RANGE = [AREA.height - AREA.bottom, AREA.top] as const;

const PLOT = { x: AREA.left, y: AREA.top, width: X_RANGE[1] - X_RANGE[0], height: Y_RANGE[0] - Y_RANGE[1] };

interface Measure {
  readonly title: string;
  readonly value: (row: ComparedScheme) => number;
  readonly interval?: (row: ComparedScheme) => readonly [number, number];
  readonly axis: Axis;
}

const ranked = (rows: readonly ComparedScheme[]) => [...rows].sort((a, b) => a.bytes - b.bytes);

function bytesAxis(rows: readonly ComparedScheme[]): Axis {
  const scale = scaleOf(
    "linear",
    rows.map((row) => row.bytes),
    X_RANGE,
  );
  return { scale, title: "file size", format: byteSize, ticks: binaryTicks(scale.domain() as [number, number]) };
}

/** About five ticks at whole halves, ones, twos of a power of two. */
export function binaryTicks([low, high]: readonly [number, number]): number[] {
  const step = 2 ** Math.round(Math.log2((high - low) / 5));
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

function tooltip(row: ComparedScheme): string {
  const [low, high] = row.deltaNllCi95;
  return [
    row.scheme,
    `${byteSize(row.bytes)}, ${row.bitsPerWeight.toFixed(3)} bits per weight`,
    `KL ${significant(row.kl, 3)} nats`,
    `difference ${significant(row.deltaNll, 3)} nats per token (${significant(low, 3)} to ${significant(high, 3)})`,
  ].join("\n");
}

function draw(rows: readonly ComparedScheme[], x: Axis, measure: Measure): string {
  const { value, interval, axis: y } = measure;
  const at = (row: ComparedScheme, height: number): Point => ({ x: x.scale(row.bytes), y: y.scale(height) });
  const points = ranked(rows).map((row) => ({ row, ...at(row, value(row)), text: row.scheme }));
  const front = paretoFront(rows, (row) => row.bytes, value);
  const line = front.map((row) => at(row, value(row)));
  const [from, to] = y.scale.domain();
  const inside = (height: number) => Math.min(to, Math.max(from, height));
  const bars = interval ? rows.map((row) => interval(row).map((bound) => at(row, inside(bound)))) : [];
  const labels = placeLabels(points, [line, ...bars], PLOT);
  const names = points.map(({ row }, i) =>
    label(labels[i].x, labels[i].y, row.scheme, {
      class: front.includes(row) ? "name front" : "name",
      "text-anchor": labels[i].anchor,
    }),
  );
  const dots = points.map(({ row, x: cx, y: cy }) =>
    element("circle", { class: `dot ${row.kind}`, cx, cy, r: 5 }, element("title", {}, escapeText(tooltip(row)))),
  );
  const polyline = (through: readonly Point[], name: string) =>
    path(
      through.map((point) => [point.x, point.y]),
      { class: name },
    );
  return element(
    "svg",
    { viewBox: `0 0 ${AREA.width} ${AREA.height}`, role: "img", "aria-label": measure.title },
    drawAxes(AREA, x, y),
    polyline(line, "front"),
    ...bars.map((bar) => polyline(bar, "interval")),
    ...names,
    ...dots,
  );
}

/** KL divergence from the original, logarithmic unless a scheme loses nothing at all. */
export function klPlot(rows: readonly ComparedScheme[]): string {
  const kl = (row: ComparedScheme) => row.kl;
  const values = rows.map(kl);
  const positive = values.filter((value) => value > 0);
  const [scale, ticks] =
    positive.length === values.length
      ? [scaleOf("log", values, Y_RANGE), undefined]
      : symmetric([0, ...positive], Math.min(...positive, 1));
  const format = (tick: number) => significant(tick, 1);
  const axis = { scale, ticks, title: "KL from the original, nats per token", format };
  return draw(rows, bytesAxis(rows), { title: "KL divergence against file size", value: kl, axis });
}

/** Difference in nats per token with its interval: linear around zero, logarithmic beyond the width of the intervals. */
export function differencePlot(rows: readonly ComparedScheme[]): string {
  const halves = rows.map(({ deltaNllCi95: [low, high] }) => (high - low) / 2).filter(Number.isFinite);
  const bounds = rows.flatMap((row) => [...row.deltaNllCi95, row.deltaNll, 0]).filter(Number.isFinite);
  const [scale, ticks] = symmetric(bounds, Math.min(...halves.filter((half) => half > 0), 1));
  const format = (tick: number) => (tick === 0 ? "0" : `${tick > 0 ? "+" : "-"}${significant(Math.abs(tick), 1)}`);
  return draw(rows, bytesAxis(rows), {
    title: "Difference in nats per token against file size",
    value: (row) => row.deltaNll,
    interval: (row) => row.deltaNllCi95,
    axis: { scale, ticks, title: "difference to the original, nats per token (95 % interval)", format },
  });
}

/** A scale that is linear up to about `unit` on both sides of zero and logarithmic beyond, with ticks at powers of ten. */
function symmetric(values: readonly number[], unit: number): [Scale, number[]] {
  const power = 10 ** Math.floor(Math.log10(Math.max(1e-9, unit)));
  const [low, high] = [1.3 * Math.min(...values, 0), 1.3 * Math.max(...values, power)];
  const powers: number[] = [];
  for (let tick = power; tick <= Math.max(high, -low); tick *= 10) powers.push(Number(tick.toPrecision(1)));
  const ticks = [...powers.map((tick) => -tick).reverse(), 0, ...powers];
  return [scaleSymlog([low, high], Y_RANGE).constant(power), ticks.filter((tick) => tick >= low && tick <= high)];
}
