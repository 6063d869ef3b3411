import { ternary } from "./ternary.js";

/** Four codes to a byte. */
export const tq2_0 = ternary("tq2_0", "TQ2_0");
