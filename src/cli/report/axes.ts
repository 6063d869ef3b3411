/** The frame of a plot: two scales, their grid, ticks and titles. */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from "d3-scale";
import { element, label } from "./svg.js";

export type Scale = ScaleContinuousNumeric<number, number>;

export interface Area {
  readonly width: number;
  readonly height: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly left: number;
}

export interface Axis {
  readonly scale: Scale;
  readonly title: string;
  readonly format: (tick: number) => string;
  readonly ticks?: readonly number[];
}

/** The scale from the smallest to the largest of `values` and a margin, logarithmic if all are positive and asked for. */
export function scaleOf(kind: "linear" | "log", values: readonly number[], range: readonly [number, number]): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (kind === "log" && low > 0) {
    const margin = Math.max(1.15, (high / low) ** 0.06);
    return scaleLog([low / margin, high * margin], range);
  }
  const margin = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1;
  return scaleLinear([low - margin, high + margin], range);
}

/** Ticks that do not crowd: on a logarithmic scale of several decades the powers of ten, else some multiples of them. */
export function ticksOf(scale: Scale, wanted = 6): number[] {
  const [low, high] = scale.domain();
  if (!("base" in scale)) return scale.ticks(wanted);
  const decades = Math.log10(high / low);
  const steps = decades > 4 ? [1] : decades > 1.2 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 7];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    ticks.push(...steps.map((step) => Number(`${step}e${power}`)));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

export function drawAxes(area: Area, x: Axis, y: Axis): string {
  const bottom = area.height - area.bottom;
  const right = area.width - area.right;
  const vertical = (x.ticks ?? ticksOf(x.scale)).map((tick) => {
    const at = x.scale(tick);
    return (
      element("line", { class: "grid", x1: at, x2: at, y1: area.top, y2: bottom }) +
      label(at, bottom + 18, x.format(tick), { class: "tick", "text-anchor": "middle" })
    );
  });
  const horizontal = (y.ticks ?? ticksOf(y.scale)).map((tick) => {
    const at = y.scale(tick);
    return (
      element("line", { class: "grid", x1: area.left, x2: right, y1: at, y2: at }) +
      label(area.left - 8, at + 4, y.format(tick), { class: "tick", "text-anchor": "end" })
    );
  });
  return [
    ...vertical,
    ...horizontal,
    element("line", { class: "axis", x1: area.left, x2: right, y1: bottom, y2: bottom }),
    label((area.left + right) / 2, area.height - 6, x.title, { class: "title", "text-anchor": "middle" }),
    label(area.left - 44, area.top - 12, y.title, { class: "title" }),
  ].join("");
}
