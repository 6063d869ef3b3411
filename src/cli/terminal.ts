/**
 * What may be done to the two output streams. Results go to standard output, everything else to standard error; colour
 * and moving text appear only on a terminal, and never against NO_COLOR (no-color.org), CI or TERM=dumb.
 */
import pico from "picocolors";

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  error(text: string): string;
}

export interface Settings {
  readonly json: boolean;
  /** NDJSON: one line for each part of the result as it is ready, the last line the whole. */
  readonly stream: boolean;
  readonly quiet: boolean;
  readonly progress: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;
const isSet = (value: string | undefined) => value !== undefined && value !== "";

export function coloured(stream: { readonly isTTY?: boolean }, environment: Environment = process.env): boolean {
  return stream.isTTY === true && !isSet(environment.NO_COLOR) && environment.TERM !== "dumb";
}

export function styleFor(stream: { readonly isTTY?: boolean }): Style {
  const colours = pico.createColors(coloured(stream));
  return { bold: colours.bold, dim: colours.dim, error: colours.red };
}

/** "bar": redrawn in place; "lines": a plain line now and then; "none": nothing. */
export type ProgressKind = "bar" | "lines" | "none";

export function progressKind(
  settings: Settings,
  stream: { readonly isTTY?: boolean },
  environment: Environment = process.env,
): ProgressKind {
  if (settings.quiet || !settings.progress || isSet(environment.CI)) return "none";
  return stream.isTTY === true && environment.TERM !== "dumb" ? "bar" : "lines";
}

/**
 * Text from a file (tensor names, metadata) made safe to print: control characters, which could drive the terminal,
 * appear as escapes. Line ends stay.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}

/** Writes and waits until the stream can take more, so that a slow reader does not fill the memory. */
export function writeTo(stream: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
