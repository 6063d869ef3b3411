// Writes the vector files from the project's exact codec: `npm run build && node vectors/make.mjs`.
// `vectorFiles(formats, tensor)` returns them as texts; a conformance test checks that they are up to date.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MINIFLOATS = ["e5m2", "e4m3fn", "e4m3", "e3m4", "e5m2fnuz", "e4m3fnuz", "e4m3b11fnuz", "e3m2", "e2m3", "e2m1", "e8m0", "ue5m3", "ue4m3"];
const P3109 = ["Binary8p1uf", "Binary8p3se", "Binary8p4se", "Binary8p4sf", "Binary4p2sf", "Binary6p6ue"];
const OTHERS = ["nf4", "af4", "bnb-fp4", "iq4_nl", "posit8", "int4", "fixed8.6"];
const ROUNDED = ["f16", "bf16", "e5m2", "e4m3fn", "e4m3fnuz", "e3m2", "e2m1", "e8m0", "ue5m3", "Binary8p3se", "Binary8p4sf", "Binary8p1uf", "posit8"];
const OVERFLOWS = ["saturate", "propagate", "none"];

const csv = (head, rows) => `${[head, ...rows].map((row) => row.join(",")).join("\n")}\n`;
const hex8 = (n) => `0x${n.toString(16)}`;

/** Values, midpoints and one ulp beside them, at the ends and in the middle of a format's positive range. */
function inputsFor(f, format) {
  const all = [...new Set([...f.decodeTable(format)].filter((v) => Number.isFinite(v) && v > 0))].sort((a, b) => a - b);
  const at = [...new Set([0, 1, Math.floor(all.length / 2), all.length - 2])].filter((i) => i >= 0 && i + 1 < all.length);
  const exact = at.flatMap((i) => [all[i], all[i] / 2 + all[i + 1] / 2]);
  const top = all[all.length - 1];
  const step = top - all[all.length - 2];
  const positive = [...exact, all[0] / 2, top, top + step / 2, top + step, 4 * top].flatMap((v) => [v, f.nextUp64(v), -f.nextUp64(-v)]);
  return [0, -0, ...positive, ...positive.map((v) => -v), Infinity, -Infinity].filter((v) => !Number.isNaN(v));
}

function valueTable(f) {
  const rows = [...MINIFLOATS, ...P3109, ...OTHERS].flatMap((name) =>
    [...f.decodeTable(f.format(name))].map((value, code) => [name, hex8(code), f.decimalText(value)]),
  );
  return csv(["format", "code", "value"], rows);
}

function roundingTable(f) {
  const rows = [];
  for (const name of ROUNDED) {
    const format = f.format(name);
    for (const x of inputsFor(f, format)) {
      for (const rounding of f.DETERMINISTIC_ROUNDINGS) {
        for (const overflow of OVERFLOWS) {
          // Overflow matters only where it does something.
          const code = f.encode(format, x, { rounding, overflow });
          if (overflow !== "none" && code === f.encode(format, x, { rounding, overflow: "none" })) continue;
          rows.push([name, rounding, overflow, f.hexText(x), hex8(code)]);
        }
      }
    }
  }
  return csv(["format", "rounding", "overflow", "input", "code"], rows);
}

const ELEMENTS = { e2m1: [6, 2, 1], e2m3: [7.5, 2, 3], e3m2: [28, 4, 2], e4m3fn: [448, 8, 3], e5m2: [57344, 15, 2] };

function scaleTable(f) {
  const rows = [];
  for (const [element, [max, emax, significandBits]] of Object.entries(ELEMENTS)) {
    const amaxes = [1, 1.25, 1.5, 1.75, 1.875, 1.9375, 1.9999998807907104, max, max * 1.0000001192092896, 7.25, 7.250000476837158, 3e-39, 3e38].map(Math.fround);
    for (const [rule, exponent] of Object.entries(f.POWER_RULES)) {
      for (const amax of amaxes) {
        const code = Math.max(0, Math.min(254, exponent(amax, { max, emax, significandBits }) + 127));
        rows.push([rule, element, f.hexText(amax), code]);
      }
    }
  }
  return csv(["rule", "element", "amax", "code"], rows);
}

/** Rows with outliers, ties, tiny and zero blocks; every number is an f32. */
function blockRows() {
  const row = (value) => Float32Array.from({ length: 32 }, (_, i) => value(i));
  return [
    row((i) => ((i * 7) % 25 - 12) / 4),
    row((i) => (i === 9 ? 1.75 : 0.25)),
    row((i) => (i === 3 ? -7.25 : ((i % 5) - 2) / 3)),
    row((i) => (i % 2 === 0 ? 1 : -1) * (1 + i / 31) * 2 ** -20),
    row((i) => (i < 16 ? 0 : i * 1000.5)),
    row(() => 0),
  ];
}

function blockFile(f, tensor) {
  const rows = blockRows();
  const values = Float32Array.from(rows.flatMap((row) => [...row]));
  const names = ["mxfp4", "mxfp8", "mxfp8-e5m2", "mxfp6-e2m3", "mxfp6-e3m2", "mxint8", "nvfp4", "nvfp4-4over6", "nvfp4-mse", "nvint4", "e2m1-g16-ue5m3", ...f.presetNames.filter((name) => !name.endsWith("@gguf")), "bitmod3-g16", "bitmod4-g16", "mxfp4+", "mxfp6-e2m3+", "mxfp8+", "e2m1-2x16"];
  const bytesHex = (bytes) => [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  const bits = (x) => new Uint32Array(x.buffer, x.byteOffset, x.length);
  const schemes = Object.fromEntries(
    names.map((name) => {
      const { planes } = tensor.quantize(values, [rows.length, 32], f.scheme(name));
      return [name, Object.fromEntries(Object.entries(planes).map(([plane, bytes]) => [plane, bytesHex(bytes)]))];
    }),
  );
  const input = rows.map((row) => [...bits(row)].map((u) => u.toString(16).padStart(8, "0")).join(""));
  return `${JSON.stringify({ rows: rows.length, columns: 32, f32Bits: input, schemes }, null, 1)}\n`;
}

export function vectorFiles(formats, tensor) {
  return {
    "values.csv": valueTable(formats),
    "roundings.csv": roundingTable(formats),
    "e8m0-rules.csv": scaleTable(formats),
    "blocks.json": blockFile(formats, tensor),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const build = process.env.BITLOOM_BUILD ?? fileURLToPath(new URL("../dist", import.meta.url));
  const [formats, tensor] = await Promise.all(["formats", "tensor"].map((folder) => import(`${build}/src/${folder}/index.js`)));
  for (const [name, text] of Object.entries(vectorFiles(formats, tensor))) writeFileSync(new URL(name, import.meta.url), text);
}
