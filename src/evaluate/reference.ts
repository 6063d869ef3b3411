/** The base that an evaluation compares with: a model that runs beside, or what it said before. */
import type { Decoder } from "../models/index.js";

export interface Reference {
  /**
   * The base's logits [ids.length, vocabulary] for `ids`, which stand at `offset` of a window and at `start` of the
   * text. Calls come in the order of the text.
   */
  logits(start: number, offset: number, ids: readonly number[]): Float32Array;
  dispose(): void;
}

/** The model itself, run in step with the one that is evaluated. */
export function liveReference(model: Decoder, context: number): Reference {
  const session = model.session({ context });
  return {
    logits(_start, offset, ids) {
      if (offset === 0) session.rewind(0);
      return session.forward(ids, "all");
    },
    dispose: () => session.dispose(),
  };
}

/** Keeps what `reference` says (4 bytes a logit), so that many models are compared with one run of the base. */
export function remember(reference: Reference): Reference {
  const kept = new Map<number, Float32Array>();
  return {
    logits(start, offset, ids) {
      const known = kept.get(start) ?? reference.logits(start, offset, ids).slice();
      kept.set(start, known);
      return known;
    },
    dispose() {
      kept.clear();
      reference.dispose();
    },
  };
}
