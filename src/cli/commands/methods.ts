import { type OptionRecord, type OptionRecords, rangeOf, readOptions } from "../../options.js";
import {
  activationMethods,
  compensations,
  methods as methodRegistry,
  type Needs,
  transforms,
} from "../../quantize/index.js";
import { command } from "../command.js";
import { boolean, closed, list, string } from "../schema.js";
import type { Style } from "../terminal.js";

const KINDS = ["method", "transform", "activations", "compensation"] as const;

interface Row {
  readonly name: string;
  readonly kind: (typeof KINDS)[number];
  readonly needs: Needs;
  readonly summary: string;
  readonly source: string;
  readonly options: readonly {
    readonly name: string;
    readonly wanted: string;
    readonly default: OptionRecord["default"];
    readonly summary: string;
  }[];
}

interface Configurable {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly options: OptionRecords;
  needs(options: Readonly<Record<string, never>>): Needs;
}

function rowOf(kind: Row["kind"], { name, summary, source, options, needs }: Configurable): Row {
  const rows = Object.entries(options).map(([option, record]) => {
    return { name: option, wanted: rangeOf(record), default: record.default, summary: record.summary };
  });
  return { name, kind, needs: needs(readOptions(options, {}, name) as never), summary, source, options: rows };
}

function text({ name, kind, needs, summary, options }: Row, style: Style): string {
  const head = `${style.bold(name)}${kind === "method" ? "" : ` (${kind})`}  ${summary}`;
  const flag = kind === "method" ? "--set " : "";
  const lines = options.map((one) => `  ${flag}${one.name}=${one.default}  ${one.summary} (${one.wanted})`);
  return [head, `  needs ${needs === "nothing" ? needs : `${needs} of the activations`}`, ...lines].join("\n");
}

export const methods = command({
  name: "methods",
  summary: "list methods, transforms and the like, with options",
  description: "Options of a method are given with --set; those of the others in a recipe.",
  arguments: [],
  options: {},
  examples: ["bitloom methods", "bitloom methods --json"],
  output: closed({
    methods: list(
      closed({
        name: string(),
        kind: { enum: KINDS },
        needs: string("what must be known of the activations"),
        summary: string(),
        source: string(),
        options: list(
          closed({
            name: string(),
            wanted: string("what it takes"),
            default: { anyOf: [string(), boolean(), { type: "number" }] },
            summary: string(),
          }),
        ),
      }),
    ),
  }),
  async run(): Promise<{ methods: Row[] }> {
    const rows = methodRegistry.entries.map((one) => rowOf("method", one));
    const others = [
      ...transforms.entries.map((one) => rowOf("transform", one)),
      ...activationMethods.entries.map((one) => rowOf("activations", one)),
      ...compensations.entries.map((one) => rowOf("compensation", one)),
    ];
    return { methods: [...rows, ...others] };
  },
  render: ({ methods: rows }, style) => `${rows.map((row) => text(row, style)).join("\n\n")}\n`,
});
