/** Steps that differ in nothing but the position, run from a recording of the backend for as long as it holds. */
import type { Backend, Recording } from "../kernels/backend.js";

export interface Replay {
  /** Does `work`, which is the same in every call but for the position. */
  run(position: number, work: () => void): void;
  dispose(): void;
}

/** Recordings that fail before no more are tried: of maps with steps outside of kernels, say. */
const patience = 3;

export function openReplay(backend: Backend): Replay {
  let recording: Recording | undefined;
  let failures = 0;
  const forget = () => {
    recording?.dispose();
    recording = undefined;
  };
  return {
    run(position, work) {
      if (recording?.run(position)) return;
      forget();
      if (!backend.record || failures === patience) work();
      else {
        recording = backend.record(position, work);
        if (!recording) failures++;
      }
    },
    dispose: forget,
  };
}
