/**
 * A model run one layer at a time over many short texts, for calibration: the hidden states of all texts are kept by the
 * caller, and only one layer's weights are in the backend's memory.
 */
import type { Backend, Buffer, Matrix } from "../kernels/backend.js";
import type { MomentSums } from "../kernels/moments.js";
import { type Products, productsOn } from "../kernels/products.js";
import type { PackedTensor } from "../tensor/index.js";
import type { Architecture, LayerState, ModelConfig, Observer, Weights } from "./architecture.js";
import { basisInput, makeLinears } from "./linear.js";
import type { LinearRecords } from "./linear-records.js";

/** A weight by role: a matrix, or the numbers of a norm or bias. */
export type LayerWeights = ReadonlyMap<string, PackedTensor | Float32Array>;

export interface LayerRunner {
  /** Length of a hidden state. */
  readonly width: number;
  /** Hidden states [ids.length, width] of ids under these weights, those of `parts.before`. */
  embed(weights: LayerWeights, texts: readonly (readonly number[])[]): Float32Array[];
  /** Loads a layer, with what `records` say of its linear maps; `dispose` of the result gives the memory back. */
  load(layer: number, weights: LayerWeights, records?: LinearRecords): LoadedLayer;
  /** The head's input for hidden states under these weights, those of `parts.head.before`; valid until the next call. */
  headInput(weights: LayerWeights, hidden: Float32Array): Buffer;
  /** Backend.sumMoments. */
  sumMoments(columns: number, products: boolean): MomentSums;
  /** Products of other matrices on the same backend. */
  readonly products: Products;
  dispose(): void;
}

/** Is shown the input of a linear map (basisInput), [tokens, columns], valid during the call. */
export type InputObserver = (role: string, input: Buffer, tokens: number) => void;

export interface LoadedLayer {
  /** The hidden states after the layer. `observe` is shown the inputs of all its linear maps. */
  run(hidden: Float32Array, observe?: InputObserver): Float32Array;
  /**
   * Takes a text through one stage of the layer. `observe` is shown the input of the group of linear maps after it. Of the group
   * before the stage all matrices must be loaded, of the one after it the first, whose rows do not matter.
   */
  runStage(stage: number, text: HaltedText, observe?: InputObserver): void;
  dispose(): void;
}

/** A text between two stages of a layer; runStage changes it. At the start there are its hidden states alone. */
export interface HaltedText {
  readonly hidden: Float32Array;
  /** What the next stage reads beside them, at the start of this memory. */
  input?: Float32Array;
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
  const groups = parts.linears(config);

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
      const passOf = (tokens: number, observe?: Observer) => {
        return { state, layer, batch: tokens, position: 0, wanted: tokens, observe };
      };
      const show = (observe: InputObserver, role: string, input: Buffer, tokens: number) => {
        const linear = state.weights.linear(`layers.${layer}.${role}`);
        observe(role, basisInput(input, linear, tokens).view(0, tokens * linear.matrix.columns), tokens);
      };
      return {
        dispose,
        run(hidden, observe) {
          const tokens = hidden.length / width;
          x.data().set(hidden);
          const pass = passOf(tokens, observe && ((role, input) => show(observe, role, input, tokens)));
          backend.batch(() => {
            for (const stage of parts.stages) stage.run(pass);
          });
          return x.data().slice(0, hidden.length);
        },
        runStage(stage, text, observe) {
          const { hidden } = text;
          const tokens = hidden.length / width;
          const [before, after] = [stage - 1, stage].map((at) => parts.stages[at]?.input?.(state));
          x.data().set(hidden);
          if (before && before.buffer !== x) before.buffer.data().set(inputOf(text, tokens * before.columns));
          backend.batch(() => {
            parts.stages[stage].run(passOf(tokens));
            if (after && observe) show(observe, groups[stage].roles[0], after.buffer, tokens);
          });
          hidden.set(x.data().subarray(0, hidden.length));
          if (after && after.buffer !== x) keepInput(text, after.buffer.data().subarray(0, tokens * after.columns));
        },
      };
    },
    headInput(named, hidden) {
      if (!parts.head) throw new Error(`architecture ${architecture.name} has no head`);
      const { state, dispose } = withWeights(named);
      x.data().set(hidden);
      const tokens = hidden.length / width;
      const input = parts.head.input(state, tokens, tokens).view(0, hidden.length);
      input.data();
      dispose();
      return input;
    },
    sumMoments: (columns, products) => backend.sumMoments(columns, products),
    products,
    dispose() {
      for (const buffer of buffers.splice(0).reverse()) backend.free(buffer);
    },
  };
}

function inputOf({ input }: HaltedText, length: number): Float32Array {
  if (!input) throw new Error("a text has not been through the stages before");
  return input.subarray(0, length);
}

function keepInput(text: HaltedText, values: Float32Array): void {
  if (text.input && text.input.length >= values.length) text.input.set(values);
  else text.input = values.slice();
}
