/**
 * JSON Schema (draft 2020-12) of what commands print with `--json`. Each command's record carries its own; docs/schemas
 * holds them as files. Builders for the few shapes that are needed; `closed` objects admit no other key.
 */
import { explanations } from "./explanations/index.js";

export type JsonSchema = { readonly [key: string]: unknown };

type Fields = Readonly<Record<string, JsonSchema>>;

export const string = (description?: string): JsonSchema => ({ type: "string", ...(description && { description }) });
export const number = (description?: string): JsonSchema => ({ type: "number", ...(description && { description }) });
export const count = (description?: string): JsonSchema => ({
  type: "integer",
  minimum: 0,
  ...(description && { description }),
});
export const boolean = (description?: string): JsonSchema => ({ type: "boolean", ...(description && { description }) });
export const list = (items: JsonSchema, description?: string): JsonSchema => ({
  type: "array",
  items,
  ...(description && { description }),
});
export const nullable = (schema: JsonSchema): JsonSchema => ({ ...schema, type: [schema.type, "null"] });
export const interval = (description: string): JsonSchema => ({
  type: "array",
  items: { type: ["number", "null"] },
  minItems: 2,
  maxItems: 2,
  description: `${description}: lower and upper end; null for an end that too few tokens leave open`,
});
/** Any JSON value: a model's metadata is not ours to constrain. */
export const anything = (description: string): JsonSchema => ({ description });

export const closed = (required: Fields, optional: Fields = {}): JsonSchema => ({
  type: "object",
  properties: { ...required, ...optional },
  required: Object.keys(required),
  additionalProperties: false,
});

/** A tensor that was written, as QuantizedTensor has it. */
export const tensorSchema = closed(
  {
    name: string(),
    shape: list(count(), "row-major, last axis contiguous"),
    scheme: string(),
    bytes: count("of tensor data, scales and offsets included"),
  },
  {
    relativeMse: number("sum (w - w')^2 / sum w^2; not with --dry-run"),
    method: string("that chose the codes"),
    seconds: number(),
    clippedShare: number("share of weights beyond what their group can hold; for schemes whose groups have scales"),
    relativeOutputError: number(
      "E||(W - W') x||^2 / E||W x||^2 on the calibration text: of some rows where the method needs a Hessian, else as if channels were independent",
    ),
    rtnOutputError: number("the same had it been rounded to nearest"),
    notes: { type: "object", additionalProperties: { type: "number" }, description: "what the method has to say" },
  },
);

/** The name in the `schema` field of what the command prints: `bitloom.quantize/1`. */
export const schemaName = (command: string, version = 1): string => `bitloom.${command}/${version}`;

/** The whole document that `command --json` prints: its schema's name and the fields of the result, or a plain list. */
export function documentSchema(command: string, title: string, result: JsonSchema): JsonSchema {
  if (result.type === "array") return { $schema: "https://json-schema.org/draft/2020-12/schema", title, ...result };
  const { properties, required, ...rest } = result as { properties: Fields; required: readonly string[] };
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title,
    ...rest,
    properties: { schema: { const: schemaName(command) }, ...properties },
    required: ["schema", ...required],
  };
}

/** What stands on standard output instead of a result when a command run with `--json` fails. */
export const errorSchema = documentSchema(
  "error",
  "A command that failed",
  closed(
    { error: string("class of error"), message: string("what happened"), exitCode: count() },
    {
      id: { enum: explanations.names, description: "of the kind of failure; bitloom explain ID. None for a signal" },
      where: string("file, tensor, byte offset, option"),
      why: string("the rule that was broken: got and wanted"),
      try: string("what to do next"),
      kept: string("what an unfinished run leaves, where, and what can be done with it"),
    },
  ),
);
