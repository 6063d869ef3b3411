import type { BackendRecord } from "../backend.js";
import { createReference } from "./reference.js";

export const reference: BackendRecord = {
  name: "reference",
  summary: "plain TypeScript, slow and clear: the oracle of the other backends",
  create: async () => createReference(),
};
