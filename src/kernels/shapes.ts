/** What every backend checks before it computes: that buffers are long enough and shapes fit, said in one way. */
import { InputError, UnsupportedError } from "../errors.js";
import type {
  Angles,
  AttentionShape,
  Buffer,
  HeadShape,
  Matrix,
  PackedAttentionShape,
  Past,
  RowStore,
  StoredHeads,
} from "./backend.js";
import { hadamardFactors } from "./hadamard.js";

const count = (n: number) => Number.isSafeInteger(n) && n >= 0;

/** Text that is only made where it is needed: these checks run hundreds of times for each token. */
type Text = string | (() => string);
const textOf = (text: Text) => (typeof text === "string" ? text : text());

function demand(holds: boolean, op: Text, why: Text): void {
  if (holds) return;
  const where = textOf(op);
  throw new InputError(`the shapes given to ${where} do not fit`, { kind: "shapes-disagree", where, why: textOf(why) });
}

/** `buffer` holds at least the numbers of `shape`. */
function long(op: Text, name: string, buffer: Buffer, ...shape: number[]): void {
  let wanted = 1;
  for (const size of shape) wanted *= size;
  if (buffer.length >= wanted) return;
  demand(false, op, `${name} holds ${buffer.length} numbers, wanted [${shape.join(", ")}] = ${wanted}`);
}

function counts(op: Text, sizes: Readonly<Record<string, number>>): void {
  for (const name in sizes) {
    if (!count(sizes[name])) demand(false, op, `${name} must be a whole number of at least 0, got ${sizes[name]}`);
  }
}

const describe = (weight: Matrix) => `${weight.scheme} weight [${weight.rows}, ${weight.columns}]`;

export const check = {
  allocate(length: number): void {
    counts("allocate", { length });
  },
  sumMoments(columns: number): void {
    counts("sumMoments", { columns });
  },
  addMoments(x: Buffer, rows: number, columns: number): void {
    counts("the sum of moments", { rows });
    long("the sum of moments", "x", x, rows, columns);
  },
  view(length: number, start: number, part: number): void {
    counts("view", { start, length: part });
    demand(start + part <= length, "view", () => `[${start}, ${start + part}) reaches past the end at ${length}`);
  },
  embed(out: Buffer, ids: ArrayLike<number>, table: Matrix): void {
    const op = () => `embed from a ${describe(table)}`;
    long(op, "out", out, ids.length, table.columns);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      const fits = Number.isInteger(id) && id >= 0 && id < table.rows;
      demand(fits, op, () => `id ${i} is ${id}, wanted 0 .. ${table.rows - 1}`);
    }
  },
  matmul(out: Buffer, x: Buffer, weight: Matrix, batch: number, bias?: Buffer): void {
    const { rows, columns } = weight;
    const fits = count(batch) && x.length >= batch * columns && out.length >= batch * rows;
    if (fits && (!bias || bias.length >= rows)) return;
    const op = `matmul with a ${describe(weight)}`;
    counts(op, { batch });
    long(op, "x", x, batch, columns);
    long(op, "out", out, batch, rows);
    if (bias) long(op, "bias", bias, rows);
  },
  rmsNorm(out: Buffer, x: Buffer, gain: Buffer, batch: number): void {
    counts("rmsNorm", { batch });
    long("rmsNorm", "x", x, batch, gain.length);
    long("rmsNorm", "out", out, batch, gain.length);
  },
  layerNorm(out: Buffer, x: Buffer, gain: Buffer, bias: Buffer, batch: number): void {
    counts("layerNorm", { batch });
    long("layerNorm", "x", x, batch, gain.length);
    long("layerNorm", "out", out, batch, gain.length);
    long("layerNorm", "bias", bias, gain.length);
  },
  hadamard(out: Buffer, x: Buffer, signs: Buffer, block: number, batch: number): void {
    counts("hadamard", { block, batch });
    const columns = signs.length;
    demand(block > 0 && columns % block === 0, "hadamard", () => `rows of ${columns} are no whole blocks of ${block}`);
    long("hadamard", "x", x, batch, columns);
    long("hadamard", "out", out, batch, columns);
    if (hadamardFactors(block)) return;
    throw new UnsupportedError(`no Hadamard matrix of order ${block} is known here`, {
      kind: "unsupported-feature",
      try: "a block that is a power of two, or twelve times one",
    });
  },
  rope(x: Buffer, batch: number, heads: number, headSize: number, cos: Buffer, sin: Buffer, position: number): void {
    counts("rope", { batch, heads, headSize, position });
    demand(headSize % 2 === 0, "rope", () => `headSize must be even, got ${headSize}`);
    long("rope", "x", x, batch, heads, headSize);
    long("rope", "cos", cos, position + batch, headSize / 2);
    long("rope", "sin", sin, position + batch, headSize / 2);
  },
  ropeAndStore(q: Buffer, k: Buffer, v: Buffer, into: StoredHeads, angles: Angles, shape: HeadShape): void {
    const { batch, heads, kvHeads, headSize } = shape;
    const { cos, sin, position } = angles;
    const op = "ropeAndStore";
    counts(op, { batch, heads, kvHeads, headSize, position, row: into.row });
    demand(headSize % 2 === 0, op, () => `headSize must be even, got ${headSize}`);
    long(op, "q", q, batch, heads, headSize);
    long(op, "k", k, batch, kvHeads, headSize);
    long(op, "v", v, batch, kvHeads, headSize);
    long(op, "keys", into.keys, into.row + batch, kvHeads, headSize);
    long(op, "values", into.values, into.row + batch, kvHeads, headSize);
    long(op, "cos", cos, position + batch, headSize / 2);
    long(op, "sin", sin, position + batch, headSize / 2);
  },
  attention(out: Buffer, q: Buffer, keys: Buffer, values: Buffer, shape: AttentionShape): void {
    const { batch, position, heads, kvHeads, headSize } = shape;
    counts("attention", { batch, position, heads, kvHeads, headSize });
    const grouped = heads === 0 || (kvHeads > 0 && heads % kvHeads === 0);
    demand(grouped, "attention", () => `${heads} heads cannot share ${kvHeads} key-value heads`);
    long("attention", "q", q, batch, heads, headSize);
    long("attention", "out", out, batch, heads, headSize);
    long("attention", "keys", keys, position + batch, kvHeads, headSize);
    long("attention", "values", values, position + batch, kvHeads, headSize);
  },
  attentionOverPacked(out: Buffer, q: Buffer, keys: Past, values: Past, shape: PackedAttentionShape): void {
    const { batch, position, heads, kvHeads, headSize, packed, chunk } = shape;
    const op = "attentionOverPacked";
    counts(op, { batch, position, heads, kvHeads, headSize, packed, chunk });
    const grouped = heads === 0 || (kvHeads > 0 && heads % kvHeads === 0);
    demand(grouped, op, () => `${heads} heads cannot share ${kvHeads} key-value heads`);
    demand(
      chunk > 0 && packed % chunk === 0 && packed <= position + 1,
      op,
      () => `${packed} packed positions are no whole chunks of ${chunk} that row 0 at ${position} sees`,
    );
    long(op, "q", q, batch, heads, headSize);
    long(op, "out", out, batch, heads, headSize);
    const width = kvHeads * headSize;
    for (const [name, { store, axis, recent }] of Object.entries({ keys, values })) {
      long(op, `recent ${name}`, recent, position + batch - packed, kvHeads, headSize);
      const [rows, columns] = axis === "token" ? [packed, width] : [(packed / chunk) * width, chunk];
      demand(store.rows >= rows && store.columns === columns, op, () => {
        return `${name} are held in [${store.rows}, ${store.columns}], wanted [${rows}, ${columns}] by ${axis}`;
      });
    }
  },
  elementwise(op: string, length: number, buffers: Readonly<Record<string, Buffer>>): void {
    counts(op, { length });
    for (const name in buffers) long(op, name, buffers[name], length);
  },
  round(out: Buffer, x: Buffer, batch: number, columns: number): void {
    counts("round", { batch, columns });
    long("round", "x", x, batch, columns);
    long("round", "out", out, batch, columns);
  },
  roundStatic(out: Buffer, x: Buffer, scales: Buffer, batch: number, columns: number): void {
    check.round(out, x, batch, columns);
    const fits = scales.length === 1 || scales.length === columns;
    demand(
      fits,
      "roundStatic",
      () => `there are ${scales.length} scales for ${columns} columns, wanted 1 or one for each`,
    );
  },
  softmax(out: Buffer, x: Buffer, rows: number, columns: number): void {
    counts("softmax", { rows, columns });
    long("softmax", "x", x, rows, columns);
    long("softmax", "out", out, rows, columns);
  },
  createRows(rows: number, columns: number): void {
    counts("createRows", { rows, columns });
  },
  rows(op: "pack" | "unpack", buffer: Buffer, store: RowStore, at: number, count: number): void {
    counts(op, { at, count });
    const { rows, columns, scheme } = store;
    const where = () => `${op} of ${scheme.name} rows`;
    demand(at + count <= rows, where, () => `rows [${at}, ${at + count}) reach past the end at ${rows}`);
    long(where, op === "pack" ? "x" : "out", buffer, count, columns);
  },
  transpose(out: Buffer, x: Buffer, count: number, rows: number, columns: number): void {
    counts("transpose", { count, rows, columns });
    long("transpose", "x", x, count, rows, columns);
    long("transpose", "out", out, count, rows, columns);
  },
};
