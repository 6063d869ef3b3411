import { containers } from "../../checkpoints/index.js";
import { schemes as registry, type Scheme } from "../../formats/index.js";
import { command } from "../command.js";
import { closed, list, number, string } from "../schema.js";
import { left, right, table } from "../table.js";
import { tensorBytes } from "../tensor-bytes.js";

interface Row {
  readonly name: string;
  readonly bitsPerWeight: number;
  readonly element: string;
  readonly containers: readonly string[];
  readonly summary: string;
  readonly source: string;
}

/** A shape that every scheme takes, large enough that what a tensor has once does not show. */
const SHAPE = [4096, 4096] as const;

const rowOf = (scheme: Scheme): Row => ({
  name: scheme.name,
  bitsPerWeight: (8 * tensorBytes(scheme, SHAPE)) / (SHAPE[0] * SHAPE[1]),
  element: scheme.element.name,
  containers: containers.entries.filter((one) => one.canHold(scheme, SHAPE) === true).map((one) => one.name),
  summary: scheme.summary,
  source: scheme.source,
});

/** Families are open; these are the members that people ask for. */
const FAMILIES = [
  "int8-row",
  "int4-g32",
  "int4-g128",
  "int4-g32-asym",
  "int3-g32",
  "int2-g32",
  "e4m3fn-row",
  "e2m1-g32",
];

export const schemes = command({
  name: "schemes",
  summary: "list the schemes that --to takes",
  description:
    "Besides the listed ones, any FORMAT-gN works: a number format of at most 8 bits with an f16 scale for N weights " +
    "(FORMAT-row: for a row), and intB-gN-asym with a zero point.",
  arguments: [],
  options: {},
  examples: ["bitloom schemes", "bitloom schemes --json"],
  output: closed({
    schemes: list(
      closed({
        name: string(),
        bitsPerWeight: number(`of a matrix of ${SHAPE.join(" x ")}`),
        element: string("number format of the elements"),
        containers: list(string(), "that can hold it"),
        summary: string(),
        source: string(),
      }),
    ),
  }),
  async run(): Promise<{ schemes: Row[] }> {
    const family = FAMILIES.map((name) => registry.get(name));
    return { schemes: [...registry.entries, ...family].map(rowOf) };
  },
  render: ({ schemes: rows }, style) =>
    table(
      [left("scheme"), right("bits per weight"), left("containers"), left("what it is")],
      rows.map((row) => [row.name, row.bitsPerWeight.toFixed(3), row.containers.join(" "), row.summary]),
      style.bold,
    ),
});
