/** From command records to a command line: parser, help, and one way to run them all. */
import { CommanderError, Command as Parser, Option as ParserOption } from "commander";
import { type BitloomError, InputError, type InputKind } from "../errors.js";
import { suggestion } from "../registry.js";
import type { Command, Context } from "./command.js";
import { EXIT, EXIT_CODES } from "./exit-codes.js";
import { failureOf, failureText } from "./failure.js";
import type { Option } from "./option.js";
import { progress } from "./progress.js";
import { schemaName } from "./schema.js";
import { progressKind, type Settings, styleFor, writeTo } from "./terminal.js";

const STREAM: Option<boolean> = {
  flags: "--stream",
  description: "print a line of JSON for each part that is ready, and the document as the last line",
};

export const GLOBAL_OPTIONS: readonly Option<boolean>[] = [
  { flags: "--json", description: "print one JSON document to standard output" },
  { flags: "-q, --quiet", description: "nothing on standard error but errors" },
  { flags: "--no-progress", description: "no progress display" },
];

const footer = `
MODEL is a Hugging Face folder (config.json, model.safetensors, tokenizer.json),
a GGUF file, or the word demo.

Try:
  bitloom demo
  bitloom quantize demo --to q4_0 -o demo-q4_0.gguf
  bitloom eval demo-q4_0.gguf --text demo/held-out.txt --against demo
  bitloom run demo-q4_0.gguf --prompt "Call me"

Exit codes:
${EXIT_CODES.map(({ code, meaning }) => `  ${String(code).padEnd(4)} ${meaning}`).join("\n")}

Results go to standard output, everything else to standard error. Colour and
progress bars appear only on a terminal; NO_COLOR and CI are honoured.
BITLOOM_DEBUG=1 adds the stack to an error.
`;

/** Switches that are off and empty lists need no word about their default. */
const worthSaying = (initial: unknown) =>
  initial !== undefined && initial !== false && !(Array.isArray(initial) && initial.length === 0);

function parserOption(option: Option<unknown>): ParserOption {
  const made = new ParserOption(
    option.flags,
    option.required ? `${option.description} (required)` : option.description,
  );
  if (option.parse) made.argParser(option.parse);
  if (worthSaying(option.default)) made.default(option.default, option.defaultText);
  return made;
}

function helpTail(command: Command): string {
  return `\nExamples:\n${command.examples.map((example) => `  ${example}`).join("\n")}\n`;
}

export function longDescription({ summary, description }: Command): string {
  const first = `${summary[0].toUpperCase()}${summary.slice(1)}.`;
  return description ? `${first}\n\n${description}` : first;
}

/** The values of all options, defaults included; an InputError if one that must be given is not. */
function optionValues({ name, options, examples }: Command, given: Readonly<Record<string, unknown>>) {
  const missing = Object.entries(options).filter(([key, option]) => option.required && given[key] === undefined);
  if (missing.length > 0) {
    throw new InputError(`${missing.map(([, { flags }]) => flags).join(" and ")} must be given`, {
      kind: "missing-argument",
      where: `bitloom ${name}`,
      try: examples[0],
    });
  }
  return Object.fromEntries(Object.entries(options).map(([key, option]) => [key, given[key] ?? option.default]));
}

/** What a command line asks for. */
interface Chosen {
  readonly command: Command;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

interface Listener {
  /** Told what the command line asks for. */
  choose(chosen: Chosen): void;
  /** Help or the version, to be printed. */
  print(text: string): void;
}

/** The parser for all commands. */
export function parserFor(commands: readonly Command[], version: string, { choose, print }: Listener): Parser {
  const parser = new Parser("bitloom")
    .description("Put a trained language model into fewer bits, and see what it cost.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .configureHelp({ showGlobalOptions: true, subcommandTerm: (sub) => sub.name() })
    .addHelpText("after", footer)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
  for (const option of GLOBAL_OPTIONS) parser.addOption(parserOption(option));
  for (const record of commands) {
    const sub = parser.command(record.name).summary(record.summary).helpOption("-h, --help", "print this help");
    sub.description(longDescription(record));
    for (const { name, description, count } of record.arguments) {
      sub.argument(count === "any" ? `[${name}...]` : `<${name}>`, description);
    }
    for (const option of Object.values(record.options)) sub.addOption(parserOption(option));
    if (record.parts) sub.addOption(parserOption(STREAM));
    sub.addHelpText("after", helpTail(record));
    sub.action(() => choose({ command: record, args: sub.args, options: optionValues(record, sub.opts()) }));
  }
  return parser;
}

const PARSER_KINDS: Readonly<Record<string, InputKind>> = {
  "commander.unknownOption": "unknown-option",
  "commander.missingArgument": "missing-argument",
  "commander.optionMissingArgument": "missing-argument",
};

/** The parser's own complaint in our words: what, why and what to try. */
function usageError(error: CommanderError, argv: readonly string[], commands: readonly Command[]): InputError {
  const names = commands.map(({ name }) => name);
  const words = argv.filter((word) => !word.startsWith("-"));
  if (error.code === "commander.help" && words.length === 0) {
    return new InputError("no command is given", { kind: "missing-argument", try: "bitloom --help" });
  }
  // "help nope" is the one case in which the parser prints help as an error.
  const unknown = { "commander.unknownCommand": words[0], "commander.help": words[1] }[error.code];
  if (unknown !== undefined) {
    return new InputError(`unknown command "${unknown}"`, { kind: "unknown-command", try: suggestion(unknown, names) });
  }
  const [message, hint] = error.message.replace(/^error: /, "").split("\n");
  const verb = names.find((name) => words.includes(name));
  const advice = hint?.replace(/^\(Did (.*)\)$/, "did $1") ?? (verb ? `bitloom ${verb} --help` : "bitloom --help");
  return new InputError(message.replaceAll("'", '"'), { kind: PARSER_KINDS[error.code], try: advice });
}

/** What the command line asks for: a command, or a text (help, the version). */
function parse(argv: readonly string[], commands: readonly Command[], version: string): Chosen | string {
  const chosen: Chosen[] = [];
  const printed: string[] = [];
  const parser = parserFor(commands, version, {
    choose: (one) => chosen.push(one),
    print: (text) => printed.push(text),
  });
  try {
    parser.parse(argv.length === 0 ? ["--help"] : argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usageError(error, argv, commands);
  }
  return chosen[0] ?? printed.join("");
}

/** Settings hold for errors in the command line too, so they are read before it is understood. */
function settingsOf(argv: readonly string[]): Settings {
  const flags = argv.includes("--") ? argv.slice(0, argv.indexOf("--")) : argv;
  const given = (...names: string[]) => names.some((name) => flags.includes(name));
  const stream = given("--stream");
  return { json: stream || given("--json"), stream, quiet: given("-q", "--quiet"), progress: !given("--no-progress") };
}

/** Where a command writes: the process's own streams, or a test's. */
export interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

function contextOf(settings: Settings, { stdout, stderr }: Streams): Omit<Context, "emit"> {
  const style = styleFor(stderr);
  return {
    style: styleFor(stdout),
    progress: progress(progressKind(settings, stderr), stderr),
    json: settings.json,
    write: (text) => writeTo(stdout, text),
    note(text) {
      if (!settings.quiet && stderr.isTTY) stderr.write(style.dim(text));
    },
  };
}

/** One document as text: on one line where others come before it. A list has no place for the name of its schema. */
function jsonText(schema: string, content: object, { stream }: Settings): string {
  const document = Array.isArray(content) ? content : { schema, ...content };
  return `${JSON.stringify(document, null, stream ? undefined : 2)}\n`;
}

/** Runs a command and prints its result; returns the error to end with although there is a result. */
async function runCommand(
  { command, args, options }: Chosen,
  context: Omit<Context, "emit">,
  settings: Settings,
): Promise<BitloomError | undefined> {
  const { name, parts } = command;
  async function emit(part: object): Promise<void> {
    if (settings.stream && parts) await context.write(jsonText(schemaName(`${name}.${parts.name}`), part, settings));
  }
  const result = await command.run({ ...context, emit }, args, options);
  context.progress.stop();
  const text = settings.json
    ? jsonText(schemaName(name), result, settings)
    : command.render(result, context.style, options);
  if (text !== "") await context.write(text);
  return command.verdict?.(result, options);
}

/** Runs one command line and returns its exit code. */
export async function runCli(
  argv: readonly string[],
  commands: readonly Command[],
  version: string,
  streams: Streams = process,
): Promise<number> {
  const settings = settingsOf(argv);
  const context = contextOf(settings, streams);
  const complain = (error: unknown) => {
    const failure = failureOf(error);
    streams.stderr.write(failureText(failure, styleFor(streams.stderr)));
    if (process.env.BITLOOM_DEBUG && error instanceof Error) streams.stderr.write(`${error.stack}\n`);
    return failure;
  };
  try {
    const parsed = parse(argv, commands, version);
    if (typeof parsed === "string") await context.write(parsed);
    const verdict = typeof parsed === "string" ? undefined : await runCommand(parsed, context, settings);
    return verdict ? complain(verdict).exitCode : EXIT.ok;
  } catch (error) {
    context.progress.stop();
    const failure = complain(error);
    // If standard output itself is what failed, standard error has said so.
    if (settings.json && streams.stdout.writable) await context.write(jsonText(schemaName("error"), failure, settings));
    return failure.exitCode;
  }
}
