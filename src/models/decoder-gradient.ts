/**
 * The backward pass of a decoder layer (decoder.ts), for methods that learn how to round its weights: the layer run on plain
 * f32 numbers with everything kept that differentiating needs, and from the gradient of its outputs the gradient of every
 * matrix. Matrix products run on the backend, the rest is written out:
 *
 *     y = x W^T             dW = dy^T x,  dx = dy W
 *     n = x r g             dx = r (g dn - x r^2 mean(g dn x)),      r = 1 / sqrt(mean(x^2) + epsilon)
 *     p = softmax(s)        ds = p (dp - sum p dp)
 *     a = silu(u) v         du = a / u (1 + u (1 - sigmoid(u))) da,  dv = silu(u) da
 *
 * and a rotation by an angle is undone by the opposite angle.
 */
import { type Products, transposed } from "../kernels/index.js";
import type { DecoderConfig, LayerNumbers, LayerTrace } from "./architecture.js";
import { ropeTables } from "./rope.js";

/** Runs texts of `tokens` hidden states each, standing one after another in `hidden`, [texts * tokens, width]. */
export function traceDecoderLayer(
  products: Products,
  config: DecoderConfig,
  weights: LayerNumbers,
  hidden: Float32Array,
  tokens: number,
): LayerTrace {
  const { width, hidden: inner, heads, kvHeads, headSize, epsilon } = config;
  const numbers = (role: string) => weights.get(role) ?? absent(role);
  const linear = (x: Float32Array, role: string, columns: number) =>
    addBias(products.multiply(x, numbers(role), columns), weights.get(`${role}.bias`));
  const tables = ropeTables(config.rope, headSize, tokens);
  const turned = (x: Float32Array, count: number, direction: 1 | -1) =>
    rotate(x, { heads: count, headSize, tokens, direction, ...tables });

  const first = rmsNorm(hidden, numbers("attentionNorm"), epsilon);
  const query = turned(linear(first.out, "query", width), heads, 1);
  const key = turned(linear(first.out, "key", width), kvHeads, 1);
  const value = linear(first.out, "value", width);
  const shape = { tokens, heads, kvHeads, headSize };
  const { mixed, shares } = attention(query, key, value, shape);
  const middle = sum(hidden, linear(mixed, "output", heads * headSize));
  const second = rmsNorm(middle, numbers("mlpNorm"), epsilon);
  const gate = linear(second.out, "gate", width);
  const up = linear(second.out, "up", width);
  const gated = gate.map((u, i) => (u / (1 + Math.exp(-u))) * up[i]);
  const outputs = sum(middle, linear(gated, "down", inner));

  /** dW and dx of y = x W^T. */
  const matrixGradient = (dy: Float32Array, x: Float32Array, columns: number) => {
    const rows = x.length / columns;
    return products.multiply(transposed(dy, dy.length / rows), transposed(x, columns), rows);
  };
  const inputGradient = (dy: Float32Array, role: string, columns: number) => {
    const w = numbers(role);
    return products.multiply(dy, transposed(w, columns), w.length / columns);
  };

  function backward(dy: Float32Array): Map<string, Float32Array> {
    const dGated = inputGradient(dy, "down", inner);
    const [dGate, dUp] = siluGradient(gate, up, dGated);
    const dSecond = sum(inputGradient(dGate, "gate", width), inputGradient(dUp, "up", width));
    const dMiddle = sum(dy, rmsNormGradient(middle, numbers("mlpNorm"), second.rates, dSecond));
    const dMixed = inputGradient(dMiddle, "output", heads * headSize);
    const { dQuery, dKey, dValue } = attentionGradient(query, key, value, shares, dMixed, shape);
    return new Map([
      ["query", matrixGradient(turned(dQuery, heads, -1), first.out, width)],
      ["key", matrixGradient(turned(dKey, kvHeads, -1), first.out, width)],
      ["value", matrixGradient(dValue, first.out, width)],
      ["output", matrixGradient(dMiddle, mixed, heads * headSize)],
      ["gate", matrixGradient(dGate, second.out, width)],
      ["up", matrixGradient(dUp, second.out, width)],
      ["down", matrixGradient(dy, gated, inner)],
    ]);
  }
  return { outputs, backward };
}

function absent(role: string): never {
  throw new Error(`the layer has no ${role}`);
}

const sum = (a: Float32Array, b: Float32Array): Float32Array => a.map((x, i) => x + b[i]);

function addBias(y: Float32Array, bias: Float32Array | undefined): Float32Array {
  return bias ? y.map((x, i) => x + bias[i % bias.length]) : y;
}

function rmsNorm(x: Float32Array, gain: Float32Array, epsilon: number) {
  const width = gain.length;
  const out = new Float32Array(x.length);
  const rates = new Float64Array(x.length / width);
  for (let t = 0; t < rates.length; t++) {
    let power = 0;
    for (let i = t * width; i < (t + 1) * width; i++) power += x[i] * x[i];
    rates[t] = 1 / Math.sqrt(power / width + epsilon);
    for (let j = 0; j < width; j++) out[t * width + j] = x[t * width + j] * rates[t] * gain[j];
  }
  return { out, rates };
}

function rmsNormGradient(x: Float32Array, gain: Float32Array, rates: Float64Array, dn: Float32Array): Float32Array {
  const width = gain.length;
  const dx = new Float32Array(x.length);
  for (let t = 0; t < rates.length; t++) {
    const [rate, at] = [rates[t], t * width];
    let along = 0;
    for (let j = 0; j < width; j++) along += gain[j] * dn[at + j] * x[at + j];
    along *= (rate * rate) / width;
    for (let j = 0; j < width; j++) dx[at + j] = rate * (gain[j] * dn[at + j] - x[at + j] * along);
  }
  return dx;
}

interface Rotation {
  readonly heads: number;
  readonly headSize: number;
  /** Of a text; row t stands at position t mod tokens. */
  readonly tokens: number;
  readonly direction: 1 | -1;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** x rotated in place: elements i and i + headSize / 2 of every head. */
function rotate(x: Float32Array, { heads, headSize, tokens, direction, cos, sin }: Rotation): Float32Array {
  const half = headSize / 2;
  for (let at = 0, head = 0; at < x.length; at += headSize, head++) {
    const place = (((head / heads) | 0) % tokens) * half;
    for (let i = 0; i < half; i++) {
      const [c, s] = [cos[place + i], direction * sin[place + i]];
      const [a, b] = [x[at + i], x[at + i + half]];
      x[at + i] = a * c - b * s;
      x[at + i + half] = b * c + a * s;
    }
  }
  return x;
}

function siluGradient(gate: Float32Array, up: Float32Array, da: Float32Array): [Float32Array, Float32Array] {
  const [dGate, dUp] = [new Float32Array(gate.length), new Float32Array(gate.length)];
  for (let i = 0; i < gate.length; i++) {
    const u = gate[i];
    const sigmoid = 1 / (1 + Math.exp(-u));
    dGate[i] = da[i] * up[i] * sigmoid * (1 + u * (1 - sigmoid));
    dUp[i] = da[i] * u * sigmoid;
  }
  return [dGate, dUp];
}

interface AttentionSizes {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
}

/** Calls `visit` for every text and head with where its query rows and its key rows begin and how far rows are apart. */
function eachHead(
  { tokens, heads, kvHeads, headSize }: AttentionSizes,
  rows: number,
  visit: (from: { q: number; k: number; qStride: number; kStride: number; share: number }) => void,
): void {
  const [qStride, kStride] = [heads * headSize, kvHeads * headSize];
  for (let text = 0; text < rows / tokens; text++) {
    for (let head = 0; head < heads; head++) {
      const q = text * tokens * qStride + head * headSize;
      const k = text * tokens * kStride + (((head * kvHeads) / heads) | 0) * headSize;
      visit({ q, k, qStride, kStride, share: (text * heads + head) * tokens * tokens });
    }
  }
}

function dot(a: Float32Array, from: number, b: Float32Array, at: number, length: number): number {
  let [even, odd] = [0, 0];
  let i = 0;
  for (; i + 2 <= length; i += 2) {
    even += a[from + i] * b[at + i];
    odd += a[from + i + 1] * b[at + i + 1];
  }
  return i < length ? even + odd + a[from + i] * b[at + i] : even + odd;
}

/** a[from ...] += factor b[at ...]. */
function accumulate(a: Float32Array, from: number, factor: number, b: Float32Array, at: number, length: number): void {
  for (let i = 0; i < length; i++) a[from + i] += factor * b[at + i];
}

/** Causal attention of every text. `shares`: [texts, heads, tokens, tokens], row t over the positions up to t. */
function attention(query: Float32Array, key: Float32Array, value: Float32Array, sizes: AttentionSizes) {
  const { tokens, heads, headSize } = sizes;
  const rows = query.length / (heads * headSize);
  const mixed = new Float32Array(query.length);
  const shares = new Float32Array(rows * heads * tokens);
  const scale = 1 / Math.sqrt(headSize);
  eachHead(sizes, rows, ({ q, k, qStride, kStride, share }) => {
    for (let t = 0; t < tokens; t++) {
      const row = shares.subarray(share + t * tokens, share + (t + 1) * tokens);
      let largest = Number.NEGATIVE_INFINITY;
      for (let j = 0; j <= t; j++) {
        row[j] = scale * dot(query, q + t * qStride, key, k + j * kStride, headSize);
        if (row[j] > largest) largest = row[j];
      }
      let total = 0;
      for (let j = 0; j <= t; j++) {
        row[j] = Math.exp(row[j] - largest);
        total += row[j];
      }
      for (let j = 0; j <= t; j++) {
        row[j] /= total;
        accumulate(mixed, q + t * qStride, row[j], value, k + j * kStride, headSize);
      }
    }
  });
  return { mixed, shares };
}

function attentionGradient(
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shares: Float32Array,
  dMixed: Float32Array,
  sizes: AttentionSizes,
) {
  const { tokens, heads, headSize } = sizes;
  const [dQuery, dKey] = [new Float32Array(query.length), new Float32Array(key.length)];
  const dValue = new Float32Array(value.length);
  const scale = 1 / Math.sqrt(headSize);
  const dShare = new Float64Array(tokens);
  eachHead(sizes, query.length / (heads * headSize), ({ q, k, qStride, kStride, share }) => {
    for (let t = 0; t < tokens; t++) {
      const row = shares.subarray(share + t * tokens, share + (t + 1) * tokens);
      let mean = 0;
      for (let j = 0; j <= t; j++) {
        accumulate(dValue, k + j * kStride, row[j], dMixed, q + t * qStride, headSize);
        dShare[j] = dot(dMixed, q + t * qStride, value, k + j * kStride, headSize);
        mean += row[j] * dShare[j];
      }
      for (let j = 0; j <= t; j++) {
        const dScore = scale * row[j] * (dShare[j] - mean);
        accumulate(dQuery, q + t * qStride, dScore, key, k + j * kStride, headSize);
        accumulate(dKey, k + j * kStride, dScore, query, q + t * qStride, headSize);
      }
    }
  });
  return { dQuery, dKey, dValue };
}
