import { ternary } from "./ternary.js";

/** Five trits to a byte in the file; planes hold two bits each. */
export const tq1_0 = ternary("tq1_0", "TQ1_0");
