/**
 * How the keys and values of past positions are held: a scheme for each side, and the axis along which numbers share scales.
 * A side with axis "channel" takes `chunk` positions at a time and shares scales among positions of one channel, because keys
 * have channels that are large at every position; with axis "token" every position has scales of its own.
 *
 * Liu et al. 2024 (KIVI), arXiv 2402.02750: keys by channel, values by token, the newest positions as they are.
 */
import type { Metadata } from "../checkpoints/checkpoint.js";
import { FileError, InputError } from "../errors.js";
import { groupSize, type Scheme, schemes } from "../formats/index.js";

export const CACHE_AXES = ["channel", "token"] as const;
export type CacheAxis = (typeof CACHE_AXES)[number];

export interface CacheSide {
  /** A scheme's name. */
  readonly scheme: string;
  readonly axis: CacheAxis;
}

export interface CacheScheme {
  readonly keys: CacheSide;
  readonly values: CacheSide;
  /** At least so many of the newest positions are held in f32. */
  readonly window: number;
  /** Turn queries and keys of every head by a Hadamard matrix, which spreads outliers and changes no score. */
  readonly rotate: boolean;
}

/** Where a file's metadata keep the scheme that its recipe asked for, as JSON. */
export const CACHE_KEY = "bitloom.cache";

const DEFAULT_WINDOW = 32;
/** Positions that are packed together where no scheme asks for more. */
const LEAST_CHUNK = 16;

/** Whether a scheme has numbers that several elements share; a cast has none, so its axis says nothing. */
const shares = (scheme: Scheme) => scheme.scale !== undefined;

/** The scheme of one name for both sides: keys by channel, values by token, 32 positions in f32. */
export const cacheScheme = (name: string): CacheScheme => ({
  keys: { scheme: schemes.get(name).name, axis: "channel" },
  values: { scheme: schemes.get(name).name, axis: "token" },
  window: DEFAULT_WINDOW,
  rotate: false,
});

/**
 * Reads `SCHEME`, or parts with commas between: `keys=SCHEME:AXIS`, `values=SCHEME:AXIS`, `window=N`, `rotate`. InputError for
 * anything else.
 */
export function parseCacheScheme(text: string): CacheScheme {
  const parts = text.split(",");
  if (parts.length === 1 && !text.includes("=")) return cacheScheme(text);
  const wrong = (part: string, why: string) =>
    new InputError(`a cache cannot be "${part}"`, {
      kind: "value-out-of-range",
      why,
      try: "int4-g32-asym, or keys=int4-g32-asym:channel,values=int4-g32-asym:token,window=32",
    });
  const read: { -readonly [K in keyof CacheScheme]?: CacheScheme[K] } = {};
  for (const part of parts) {
    const [key, value = ""] = part.split("=");
    if (key === "keys" || key === "values") {
      const [name, axis = key === "keys" ? "channel" : "token"] = value.split(":");
      if (!isAxis(axis)) throw wrong(part, `the axis is one of ${CACHE_AXES.join(", ")}`);
      read[key] = { scheme: schemes.get(name).name, axis };
    } else if (key === "window") {
      const window = Number(value);
      if (value === "" || !Number.isSafeInteger(window) || window < 0)
        throw wrong(part, "wanted a number of positions");
      read.window = window;
    } else if (part === "rotate") read.rotate = true;
    else throw wrong(part, "wanted keys=, values=, window= or rotate");
  }
  const { keys, values, window = DEFAULT_WINDOW, rotate = false } = read;
  if (!keys || !values) throw wrong(text, "both keys and values must be given");
  return { keys, values, window, rotate };
}

const isAxis = (text: string): text is CacheAxis => (CACHE_AXES as readonly string[]).includes(text);

/** The text that parseCacheScheme reads. */
export function cacheText({ keys, values, window, rotate }: CacheScheme): string {
  const sides = `keys=${keys.scheme}:${keys.axis},values=${values.scheme}:${values.axis}`;
  return `${sides},window=${window}${rotate ? ",rotate" : ""}`;
}

/** Whether keys and values are held as they are: `f32` for both. */
export const isPlain = ({ keys, values, rotate }: CacheScheme): boolean =>
  keys.scheme === "f32" && values.scheme === "f32" && !rotate;

/** The cache that a file's recipe asked for. */
export function readCacheScheme(metadata: Metadata, where: string): CacheScheme | undefined {
  const text = metadata[CACHE_KEY];
  if (text === undefined) return undefined;
  try {
    return parseCacheScheme(String(text));
  } catch (cause) {
    throw new FileError(`"${CACHE_KEY}" cannot be read`, {
      kind: "bad-header",
      where,
      why: (cause as Error).message,
      cause,
    });
  }
}

/** Positions that are packed together: the longest group along positions. */
export function chunkOf({ keys, values }: CacheScheme): number {
  const along = [keys, values].filter(({ axis }) => axis === "channel").map(({ scheme }) => schemes.get(scheme));
  const sizes = along.filter(shares).map((scheme) => groupSize(scheme.scale?.per ?? "row", LEAST_CHUNK));
  return Math.max(LEAST_CHUNK, ...sizes);
}
