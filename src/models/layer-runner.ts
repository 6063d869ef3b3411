/**
 * A model run one layer at a time over many short texts, for calibration: the hidden states of all texts are kept by the
 * caller, and only one layer's weights are in the backend's memory.
 */
import type { Backend, Buffer, Matrix } from "../kernels/backend.js";
import { type Products, productsOn, transposed } from "../kernels/products.js";
import type { PackedTensor } from "../tensor/index.js";
import type { Architecture, LayerState, ModelConfig, Observer, Weights } from "./architecture.js";
import { basisInput, type LinearRecords, makeLinears } from "./linear.js";

/** A weight by role: a matrix, or the numbers of a norm or bias. */
export type LayerWeights = ReadonlyMap<string, PackedTensor | Float32Array>;

export interface LayerRunner {
  /** Length of a hidden state. */
  readonly width: number;
  /** Hidden states [ids.length, width] of ids under these weights, those of `parts.before`. */
  embed(weights: LayerWeights, texts: readonly (readonly number[])[]): Float32Array[];
  /** Loads a layer, with what `records` say of its linear maps; `dispose` of the result gives the memory back. */
  load(layer: number, weights: LayerWeights, records?: LinearRecords): LoadedLayer;
  /** The head's input for hidden states under these weights, those of `parts.head.before`. */
  headInput(weights: LayerWeights, hidden: Float32Array): Float32Array;
  /** Adds X^T X of x [tokens, columns], computed in f32, to `sum` on and below the diagonal. */
  addGram(x: Float32Array, tokens: number, sum: Float64Array): void;
  /** Products of other matrices on the same backend. */
  readonly products: Products;
  dispose(): void;
}

export interface LoadedLayer {
  /** The hidden states after the layer. `observe` sees the inputs of its linear maps (basisInput), valid during the call. */
  run(hidden: Float32Array, observe?: (role: string, input: Float32Array, tokens: number) => void): Float32Array;
  dispose(): void;
}

interface Parts {
  readonly backend: Backend;
  readonly architecture: Architecture;
  readonly config: ModelConfig;
  /** The longest text. */
  readonly window: number;
}

export function createLayerRunner({ backend, architecture, config, window }: Parts): LayerRunner {
  const buffers: Buffer[] = [];
  const keep = (buffer: Buffer) => {
    buffers.push(buffer);
    return buffer;
  };
  const { parts } = architecture;
  const room = parts.room(backend, config, window, keep);
  const { x } = room.scratch;
  const { width } = config;
  const stateWith = (weights: Weights): LayerState => ({ ...room, weights });

  function withWeights(named: LayerWeights, records: LinearRecords = {}) {
    const matrices = new Map<string, Matrix>();
    const vectors = new Map<string, Buffer>();
    for (const [role, weight] of named) {
      if (weight instanceof Float32Array) vectors.set(role, backend.upload(weight));
      else matrices.set(role, backend.loadMatrix(weight, "f32"));
    }
    const get = <T>(map: Map<string, T>, role: string): T => {
      const found = map.get(role);
      if (found === undefined) throw new Error(`no weight is loaded as ${role}`);
      return found;
    };
    const matrix = (role: string) => get(matrices, role);
    const optionalVector = (role: string) => vectors.get(role);
    const linears = makeLinears({ backend, records, matrix, optionalVector });
    const { linear } = linears;
    const weights: Weights = { linear, matrix, vector: (role) => get(vectors, role), optionalVector };
    const dispose = () => {
      linears.dispose();
      for (const vector of [...vectors.values()].reverse()) backend.free(vector);
      for (const matrix of [...matrices.values()].reverse()) backend.freeMatrix(matrix);
    };
    return { state: stateWith(weights), dispose };
  }

  const products = productsOn(backend);

  return {
    width,
    embed(named, texts) {
      const { state, dispose } = withWeights(named);
      const hidden = texts.map((ids) => {
        parts.embed(state, ids);
        return x.data().slice(0, ids.length * width);
      });
      dispose();
      return hidden;
    },
    load(layer, named, records) {
      const { state, dispose } = withWeights(named, records);
      return {
        dispose,
        run(hidden, observe) {
          const tokens = hidden.length / width;
          x.data().set(hidden);
          const observer: Observer | undefined =
            observe &&
            ((role, input, batch) => {
              const linear = state.weights.linear(`layers.${layer}.${role}`);
              const seen = basisInput(input, linear, batch).data();
              observe(role, seen.subarray(0, batch * linear.matrix.columns), batch);
            });
          const pass = { state, layer, batch: tokens, position: 0, wanted: tokens, observe: observer };
          backend.batch(() => {
            for (const stage of parts.stages) stage.run(pass);
          });
          return x.data().slice(0, hidden.length);
        },
      };
    },
    headInput(named, hidden) {
      if (!parts.head) throw new Error(`architecture ${architecture.name} has no head`);
      const { state, dispose } = withWeights(named);
      x.data().set(hidden);
      const tokens = hidden.length / width;
      const input = parts.head.input(state, tokens, tokens).data().slice(0, hidden.length);
      dispose();
      return input;
    },
    addGram(x, tokens, sum) {
      addGram(products, transposed(x, x.length / tokens), tokens, sum);
    },
    products,
    dispose() {
      for (const buffer of buffers.splice(0).reverse()) backend.free(buffer);
    },
  };
}

/** Rows of A A^T that are computed together. */
const GRAM_ROWS = 192;

/** Adds A A^T of a, [n, length], to `sum`, [n, n]: what is above the diagonal is left alone but for blocks that cross it. */
function addGram(products: Products, a: Float32Array, length: number, sum: Float64Array): void {
  const n = a.length / length;
  for (let start = 0; start < n; start += GRAM_ROWS) {
    const width = Math.min(GRAM_ROWS, n - start);
    const block = a.subarray(start * length, (start + width) * length);
    const product = products.multiply(a.subarray(start * length), block, length);
    for (let i = start, from = 0; i < n; i++, from += width) {
      for (let j = 0, to = i * n + start; j < width; j++, to++) sum[to] += product[from + j];
    }
  }
}
