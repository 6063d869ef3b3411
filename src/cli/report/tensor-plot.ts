/** Error by tensor and scheme: one line a scheme, one mark a tensor at its relative mean squared error. */
import type { QuantizedTensor } from "../../quantize/index.js";
import { significant } from "../numbers.js";
import { type Area, drawAxes, scaleOf } from "./axes.js";
import type { ComparedScheme } from "./data.js";
import { element, escapeText, label } from "./svg.js";

const ROW_HEIGHT = 30;
const SPREAD = 9;

/** The tensors that a scheme changed; norms kept as they were have no error to show. */
const changed = (row: ComparedScheme) => row.tensors.filter((tensor) => tensor.relativeMse > 0);

/** What a tensor is for, from the words that both naming styles share. */
export function partOf(tensor: string): "embedding" | "attention" | "mlp" {
  if (/attn|_proj/.test(tensor) && !/ffn|gate|up_|down/.test(tensor)) return "attention";
  return /ffn|mlp|gate|up_|down/.test(tensor) ? "mlp" : "embedding";
}

function marks(row: ComparedScheme, at: (value: number) => number, y: number): string[] {
  const tensors = changed(row);
  return tensors.map((tensor, i) => {
    const offset = tensors.length > 1 ? SPREAD * ((2 * i) / (tensors.length - 1) - 1) : 0;
    const title = element("title", {}, escapeText(tooltip(row, tensor)));
    return element(
      "circle",
      { class: `mark ${partOf(tensor.name)}`, cx: at(tensor.relativeMse), cy: y + offset, r: 3 },
      title,
    );
  });
}

const tooltip = (row: ComparedScheme, tensor: QuantizedTensor) =>
  `${tensor.name} as ${tensor.scheme} (in ${row.scheme})\nrelative MSE ${significant(tensor.relativeMse, 3)}`;

export function tensorPlot(rows: readonly ComparedScheme[]): string {
  const shown = [...rows].filter((row) => changed(row).length > 0).sort((a, b) => meanError(a) - meanError(b));
  const left = 24 + 8 * Math.max(...shown.map((row) => row.scheme.length), 4);
  const area: Area = { width: 1120, height: 76 + ROW_HEIGHT * shown.length, top: 24, right: 24, bottom: 48, left };
  const errors = shown.flatMap((row) => changed(row).map((tensor) => tensor.relativeMse));
  const x = scaleOf("log", errors, [area.left, area.width - area.right]);
  const y = scaleOf("linear", [0, 1], [0, 1]);
  const lines = shown.map((row, i) => {
    const middle = area.top + ROW_HEIGHT * (i + 0.5);
    return (
      element("line", { class: "grid", x1: area.left, x2: area.width - area.right, y1: middle, y2: middle }) +
      label(area.left - 10, middle + 4, row.scheme, { class: "name front", "text-anchor": "end" }) +
      marks(row, x, middle).join("")
    );
  });
  const title = "relative mean squared error of a tensor, |W - Q(W)|² / |W|²";
  return element(
    "svg",
    { viewBox: `0 0 ${area.width} ${area.height}`, role: "img", "aria-label": "Error by tensor and scheme" },
    drawAxes(
      area,
      { scale: x, title, format: (tick) => significant(tick, 1) },
      { scale: y, title: "", format: String, ticks: [] },
    ),
    ...lines,
  );
}

const meanError = (row: ComparedScheme) =>
  changed(row).reduce((sum, tensor) => sum + Math.log(tensor.relativeMse), 0) / changed(row).length;
