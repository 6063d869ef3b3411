/**
 * llama.cpp's older form of importance matrices (`.dat`), little-endian: i32 number of entries; for each i32 length of its name,
 * the name, i32 calls n, i32 channels, and as many f32, n E[x^2]; at the end i32 chunks seen, i32 length and name of the text
 * (older files end before). Source: llama.cpp, tools/imatrix/imatrix.cpp, save_imatrix_legacy and load_imatrix_legacy.
 */
import { FileError } from "../errors.js";
import type { InputStatistics } from "./statistics.js";

/** Mean squares by weight; a FileError for bytes that are no such file. Tokens are not known: calls stand for them. */
export function parseImatrixDat(bytes: Uint8Array, path: string): Map<string, InputStatistics> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const wrong = (why: string) =>
    new FileError("this is no importance matrix", {
      kind: "bad-header",
      where: `${path}, byte offset ${at}`,
      why,
      try: "bitloom imatrix, or llama-imatrix",
    });
  const count = (what: string, bytesEach: number) => {
    if (at + 4 > bytes.length) throw wrong(`the file ends before the ${what}`);
    const value = view.getInt32(at, true);
    if (value < 0 || value * bytesEach > bytes.length - at - 4)
      throw wrong(`${what} of ${value} do not fit into the file`);
    at += 4;
    return value;
  };
  const result = new Map<string, InputStatistics>();
  const entries = count("entries", 12);
  for (let i = 0; i < entries; i++) {
    const length = count("bytes of a name", 1);
    const name = new TextDecoder().decode(bytes.subarray(at, at + length));
    at += length;
    const calls = count("calls", 0);
    const columns = count("channels", 4);
    const sums = Float64Array.from({ length: columns }, (_, j) => view.getFloat32(at + 4 * j, true));
    const bad = sums.findIndex((x) => !(x >= 0 && Number.isFinite(x)));
    if (calls === 0 || columns === 0 || bad >= 0) {
      throw wrong(
        `"${name}" has ${calls} calls, ${columns} channels${bad < 0 ? "" : `, and ${sums[bad]} in channel ${bad}`}`,
      );
    }
    at += 4 * columns;
    const none = new Float64Array(0);
    const meanSquare = sums.map((x) => x / calls);
    result.set(name, { columns, tokens: calls, meanSquare, meanAbsolute: none, maxAbsolute: none });
  }
  if (result.size === 0) throw wrong("it speaks of no weight");
  return result;
}

/** The bytes of such a file; `chunks`: windows of text that were seen. */
export function imatrixDat(
  importance: ReadonlyMap<string, InputStatistics>,
  dataset: string,
  chunks: number,
): Uint8Array {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  const integer = (value: number) => parts.push(new Uint8Array(Int32Array.of(value).buffer));
  const text = (value: string) => {
    const encoded = encoder.encode(value);
    integer(encoded.length);
    parts.push(encoded);
  };
  integer(importance.size);
  for (const [name, { columns, meanSquare }] of importance) {
    text(name);
    integer(chunks);
    integer(columns);
    parts.push(new Uint8Array(Float32Array.from(meanSquare, (x) => x * chunks).buffer));
  }
  integer(chunks);
  text(dataset);
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => {
    whole.set(part, at);
    return at + part.length;
  }, 0);
  return whole;
}
