/** Attention to keys and values in f32: in tiles where queries share them, else one query at a time. */
import type { AttentionShape } from "../backend.js";
import { attention } from "./attention.js";
import { tileScratchBytes } from "./attention-steps.js";
import { attentionModule, attentionTiles, fitsTiles, tileQueriesOf } from "./attention-tiles.js";
import type { CompiledModule, Engine } from "./engine.js";
import { floatBits } from "./kernel.js";
import { roundUp } from "./layout.js";

/**
 * `addresses` as Backend.attention has the buffers; nothing is empty. `core` has the kernel for single queries. `most`: positions
 * that there is room for; scratch memory is taken for all of them, so that it stays where it is from step to step.
 */
export function attend(
  engine: Engine,
  core: CompiledModule,
  addresses: Readonly<Record<"out" | "q" | "keys" | "values", number>>,
  { batch, position, heads, kvHeads, headSize, causal = true }: AttentionShape,
  most: number,
): void {
  const end = position + batch;
  const common = { ...addresses, seen: position + (causal ? 1 : batch), seenStep: causal ? 1 : 0, heads, kvHeads };
  const work = 2 * batch * heads * headSize * end;
  const queries = (batch * heads) / kvHeads;
  const room = (bytes: number) => {
    const scratchBytes = roundUp(bytes, 64);
    return { scratch: engine.scratch("scores", scratchBytes * engine.threads), scratchBytes };
  };
  if (queries === 1 || !fitsTiles(headSize)) {
    const args = { ...common, headSize, scale: floatBits(1 / Math.sqrt(headSize)), ...room(4 * most + 16) };
    engine.run(core, attention, args, batch * heads, work);
    return;
  }
  const module = engine.module(`attention ${headSize}`, (limits) => attentionModule(headSize, limits));
  const tileQueries = tileQueriesOf(queries, kvHeads, engine.threads);
  const tiles = Math.ceil(queries / tileQueries);
  const args = { ...common, rows: batch, tileQueries, tiles, ...room(tileScratchBytes(most)) };
  engine.run(module, attentionTiles, args, kvHeads * tiles, work);
}
