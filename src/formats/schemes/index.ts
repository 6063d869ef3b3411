/** The listed schemes: one line each. Families such as int4-g64 are made from their name (families.ts). */
import type { Scheme } from "../scheme.js";
import { bf16 } from "./bf16.js";
import { f16 } from "./f16.js";
import { f32 } from "./f32.js";
import { iq4_nl } from "./iq4_nl.js";
import { iq4_xs } from "./iq4_xs.js";
import { mxfp4 } from "./mxfp4.js";
import { mxfp6_e2m3, mxfp6_e3m2 } from "./mxfp6.js";
import { mxfp8, mxfp8_2d } from "./mxfp8.js";
import { mxfp8_e5m2 } from "./mxfp8-e5m2.js";
import { mxint4, mxint6, mxint8 } from "./mxint.js";
import { nvfp4, nvfp4_2d, nvfp4_4over6, nvfp4_mse, nvint4 } from "./nvfp4.js";
import { q2_k } from "./q2_k.js";
import { q3_k } from "./q3_k.js";
import { q4_0 } from "./q4_0.js";
import { q4_1 } from "./q4_1.js";
import { q4_k } from "./q4_k.js";
import { q5_0 } from "./q5_0.js";
import { q5_1 } from "./q5_1.js";
import { q5_k } from "./q5_k.js";
import { q6_k } from "./q6_k.js";
import { q8_0 } from "./q8_0.js";
import { tq1_0 } from "./tq1_0.js";
import { tq2_0 } from "./tq2_0.js";

export const schemeRecords: readonly Scheme[] = [
  f32,
  f16,
  bf16,
  q8_0,
  q6_k,
  q5_k,
  q4_k,
  q3_k,
  q2_k,
  q5_1,
  q5_0,
  q4_1,
  q4_0,
  iq4_nl,
  iq4_xs,
  tq2_0,
  tq1_0,
  mxfp8,
  mxfp8_e5m2,
  mxfp8_2d,
  mxfp6_e2m3,
  mxfp6_e3m2,
  mxfp4,
  mxint8,
  mxint6,
  mxint4,
  nvfp4,
  nvfp4_2d,
  nvfp4_4over6,
  nvfp4_mse,
  nvint4,
];
