/** What quantizing did to every tensor, as one HTML file: errors before and after, what was clipped, and how long it took. */
import type { QuantizedTensor, QuantizeResult, Recipe } from "../../quantize/index.js";
import { byteSize, dimensions, duration, grouped, percent, significant } from "../numbers.js";
import { settingsText } from "../recipe-text.js";
import { type Area, drawAxes, scaleOf } from "./axes.js";
import { card, documentOf, factList, tableOf } from "./document.js";
import { element, escapeText } from "./svg.js";

const TITLES = [
  "tensor",
  "shape",
  "scheme",
  "method",
  "bytes",
  "relative MSE",
  "output error",
  "if rounded",
  "clipped",
  "seconds",
  "notes",
];

const optional = (value: number | undefined, text: (value: number) => string) =>
  value === undefined ? "" : text(value);
const short = (value: number) => significant(value, 3);

function lineOf(tensor: QuantizedTensor): string[] {
  const { name, shape, scheme, method = "", bytes, relativeMse, relativeOutputError, rtnOutputError } = tensor;
  const notes = Object.entries(tensor.notes ?? {}).flatMap(([key, value]) =>
    value === 0 ? [] : `${key} ${short(value)}`,
  );
  return [
    ...[name, dimensions(shape), scheme, method, grouped(bytes), relativeMse === 0 ? "exact" : short(relativeMse)],
    ...[optional(relativeOutputError, short), optional(rtnOutputError, short)],
    ...[optional(tensor.clippedShare, (share) => percent(share, 2)), optional(tensor.seconds, short), notes.join(", ")],
  ];
}

/** One mark a tensor in the order of the file: what was reached, and what rounding to nearest would have given. */
function errorPlot(tensors: readonly QuantizedTensor[], reached: (tensor: QuantizedTensor) => number): string {
  const area: Area = { width: 1120, height: 320, top: 28, right: 24, bottom: 48, left: 64 };
  const errors = tensors.flatMap((one) => [reached(one), one.rtnOutputError ?? reached(one)]).filter((x) => x > 0);
  const x = scaleOf("linear", [0, Math.max(1, tensors.length - 1)], [area.left, area.width - area.right]);
  const y = scaleOf("log", errors, [area.height - area.bottom, area.top]);
  const mark = (kind: string, index: number, value: number, tip: string) =>
    value > 0
      ? element(
          "circle",
          { class: `mark ${kind}`, cx: x(index), cy: y(value), r: 3.5 },
          element("title", {}, escapeText(tip)),
        )
      : "";
  const marks = tensors.map((tensor, index) => {
    const { name, scheme, rtnOutputError } = tensor;
    const own = reached(tensor);
    const before =
      rtnOutputError === undefined
        ? ""
        : mark("minifloat", index, rtnOutputError, `${name}, rounded: ${short(rtnOutputError)}`);
    return before + mark("integer", index, own, `${name} as ${scheme}: ${short(own)}`);
  });
  const title = "tensors in the order of the file";
  return element(
    "svg",
    { viewBox: `0 0 ${area.width} ${area.height}`, role: "img", "aria-label": "Error of every tensor" },
    drawAxes(
      area,
      { scale: x, title, format: () => "", ticks: [] },
      { scale: y, title: "relative squared error", format: (tick) => significant(tick, 1) },
    ),
    ...marks,
  );
}

/** What the method gained over rounding to nearest, in the middle of all tensors. */
function gainText(tensors: readonly QuantizedTensor[]): string {
  const ratios = tensors
    .flatMap(({ relativeOutputError: own, rtnOutputError: rtn }) => (own !== undefined && rtn ? [own / rtn] : []))
    .sort((a, b) => a - b);
  if (ratios.length === 0) return "";
  const gain = 1 - ratios[Math.floor(ratios.length / 2)];
  const side = gain < 0 ? "above" : "below";
  return ` Errors of outputs lie ${percent(Math.abs(gain), 0)} ${side} those of rounding to nearest (median).`;
}

export interface QuantizeReport extends QuantizeResult {
  readonly input: string;
  readonly recipe: Recipe;
  readonly peakRssBytes: number;
}

export function quantizePage(result: QuantizeReport): string {
  const changed = result.tensors.filter(({ relativeMse }) => relativeMse > 0);
  const calibrated = changed.some(({ relativeOutputError }) => relativeOutputError !== undefined);
  const reached = ({ relativeOutputError, relativeMse }: QuantizedTensor) => relativeOutputError ?? relativeMse;
  const worst = changed.reduce<QuantizedTensor | undefined>(
    (w, one) => (w && reached(w) >= reached(one) ? w : one),
    undefined,
  );
  const lead = worst
    ? `${changed.length} tensors were changed; ${worst.name} suffered most (${short(reached(worst))} of its power).${gainText(changed)}`
    : "Every tensor was kept exactly.";
  const what = calibrated
    ? "Error of what the tensor's map puts out on the calibration text, ‖(W − Q(W))x‖² / ‖Wx‖², where it is known, else of its weights, ‖W − Q(W)‖² / ‖W‖²."
    : "Error of every tensor's weights, ‖W − Q(W)‖² / ‖W‖².";
  const legend = element(
    "div",
    { class: "legend" },
    ...[
      ["integer", "as it is"],
      ["minifloat", "had it been rounded to nearest"],
    ].map(([kind, text]) => element("span", {}, `${element("i", { class: kind }, "")}${text}`)),
  );
  const body = [
    element("h1", {}, escapeText(`${result.output}`)),
    element("p", { class: "lead" }, escapeText(lead)),
    element("h2", {}, "Error of every tensor"),
    element("p", { class: "note" }, escapeText(what)),
    ...(calibrated ? [legend] : []),
    ...(changed.length > 0 ? [card(errorPlot(changed, reached))] : []),
    element("h2", {}, "The numbers"),
    card(tableOf(TITLES, result.tensors.map(lineOf), { class: "notes" })),
    element("h2", {}, "The run"),
    factList([
      ["from", result.input],
      ...result.recipe.steps.map((step, index) => [`step ${index + 1}`, settingsText(step)] as const),
      [
        "size",
        `${grouped(result.bytes)} bytes (${byteSize(result.bytes)}), ${result.bitsPerWeight.toFixed(3)} bits per weight`,
      ],
      ["time", duration(result.seconds)],
      ["peak memory", byteSize(result.peakRssBytes)],
    ]),
  ];
  return documentOf(result.output, body);
}
