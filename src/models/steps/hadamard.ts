import { FileError } from "../../errors.js";
import { hadamardFactors } from "../../kernels/hadamard.js";
import { randomWord } from "../../random.js";
import type { StepKind } from "./step.js";

/**
 * `{"kind": "hadamard", "block": 64, "seed": 0, "stream": 3}`: every block of a row times the rotation H diag(signs) / sqrt(block)
 * that its weights were multiplied with. Signs are bit 0 of the draws of a stream; without a seed all are 1.
 */
export const hadamard: StepKind = {
  name: "hadamard",
  summary: "blocks of activations rotated by a Hadamard matrix, as their weights were",
  source:
    "Ashkboos et al. 2024 (QuaRot), arXiv 2404.00456, section 4; blocks: Egiazarian et al. 2025 (MR-GPTQ), arXiv 2509.23202",
  essential: true,
  prepare(backend, { block, seed, stream = 0 }, { role, columns }) {
    const whole = typeof block === "number" && block > 0 && columns % block === 0;
    if (!whole || !hadamardFactors(block)) {
      throw new FileError("an input step rotates by a matrix that is not known", {
        kind: "bad-config",
        where: role,
        why: `got blocks of ${JSON.stringify(block)} for rows of ${columns}`,
      });
    }
    if ((seed !== undefined && !isSeed(seed)) || !isSeed(stream)) {
      throw new FileError("an input step has a senseless seed", { kind: "bad-config", where: role });
    }
    const signs = backend.upload(Float32Array.from(randomSigns(columns, seed, stream)));
    return {
      run: (out, x, batch) => backend.hadamard(out, x, signs, block, batch),
      dispose: () => backend.free(signs),
    };
  },
};

const isSeed = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** The signs of a rotation: 1 where bit 0 of the draw is 0, else -1; all 1 without a seed. */
export function randomSigns(columns: number, seed: number | undefined, stream: number): Int8Array {
  return Int8Array.from({ length: columns }, (_, j) =>
    seed === undefined || randomWord(seed, stream, j) % 2 === 0 ? 1 : -1,
  );
}
