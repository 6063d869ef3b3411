/**
 * What quantization changed in an encoder: how far each text's vector turned, and whether a search among the texts still
 * finds the same neighbours. Texts are paired, model against base; each text is one draw.
 */
import { InputError } from "../errors.js";
import { type Estimate, estimate } from "./statistics.js";

export interface EmbeddingComparison {
  readonly texts: number;
  /** Mean of 1 - cos(v, v') over texts. */
  readonly cosineError: number;
  readonly cosineErrorCi95: readonly [number, number];
  /** cos(v, v') of the text that turned most. */
  readonly worstCosine: number;
  /** Share of texts whose nearest other text (by cosine, each in its own model) is the same. */
  readonly top1Agreement: number;
  readonly top1Ci95: readonly [number, number];
  /** Mean share of the ten nearest texts that both models find; of all others where there are fewer. */
  readonly top10Overlap: number;
  readonly top10Ci95: readonly [number, number];
}

const NEIGHBOURS = 10;

/** Compares vectors of the same texts. An InputError for fewer than two texts or vectors of different lengths. */
export function compareEmbeddings(base: readonly Float32Array[], model: readonly Float32Array[]): EmbeddingComparison {
  if (base.length < 2) {
    const why = `${base.length} of them; a neighbour is another text`;
    throw new InputError("too few texts to compare vectors", { kind: "text-too-short", why });
  }
  if (base.length !== model.length || base[0].length !== model[0].length) {
    const why = `${base.length} of length ${base[0].length} and ${model.length} of length ${model[0]?.length ?? 0}`;
    throw new InputError("the vectors cannot be compared", { kind: "shapes-disagree", why });
  }
  const [mine, theirs] = [model.map(unit), base.map(unit)];
  const errors = Float64Array.from(mine, (v, i) => cosineError(v, theirs[i]));
  const top1 = new Float64Array(mine.length);
  const top10 = new Float64Array(mine.length);
  for (let i = 0; i < mine.length; i++) {
    const [found, wanted] = [nearest(mine, i), nearest(theirs, i)];
    top1[i] = found[0] === wanted[0] ? 1 : 0;
    top10[i] = found.filter((text) => wanted.includes(text)).length / wanted.length;
  }
  const [error, first, ten] = [errors, top1, top10].map((values): Estimate => estimate(values, 1));
  return {
    texts: mine.length,
    cosineError: error.mean,
    cosineErrorCi95: error.ci95,
    worstCosine: 1 - errors.reduce((a, b) => Math.max(a, b)),
    top1Agreement: first.mean,
    top1Ci95: first.ci95,
    top10Overlap: ten.mean,
    top10Ci95: ten.ci95,
  };
}

function unit(vector: Float32Array): Float64Array {
  const length = Math.hypot(...vector);
  return Float64Array.from(vector, (x) => (length > 0 ? x / length : 0));
}

/** 1 - cos of two vectors of length 1, as half their squared distance, which loses no digits where they nearly agree. */
function cosineError(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / 2;
}

/** The texts nearest to text `i`, nearest first, the earlier of equals first. */
function nearest(vectors: readonly Float64Array[], i: number): number[] {
  const similarities = vectors.map((other) => {
    let dot = 0;
    for (let k = 0; k < other.length; k++) dot += other[k] * vectors[i][k];
    return dot;
  });
  const others = similarities.flatMap((_, text) => (text === i ? [] : [text]));
  return others.sort((a, b) => similarities[b] - similarities[a] || a - b).slice(0, NEIGHBOURS);
}
