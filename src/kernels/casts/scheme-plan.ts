/** Which path a scheme takes through the cast kernels, and why where it is the reference. */
import type { EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import type { RuleSteps } from "../../formats/rule-steps.js";
import type { Scheme, TagCodec } from "../../formats/scheme.js";
import { decodeTable } from "../../formats/table.js";
import type { BlockEncode } from "./block-encode.js";
import { type LaneDecode, planDecode } from "./decode-plan.js";
import { type ElementEncode, type EncodePlan, type LaneEncode, planEncode } from "./encode-plan.js";

export type Path = { readonly path: "generated" | "table" } | { readonly path: "reference"; readonly why: string };

export type QuantizePlan =
  | { readonly kind: "cast"; readonly element: EncodePlan }
  | {
      readonly kind: "blocks";
      readonly steps: BlockEncode["steps"];
      readonly block: Omit<BlockEncode, "divides" | "shift">;
    }
  | { readonly kind: "reference"; readonly why: string };

const reference = (why: string): QuantizePlan => ({ kind: "reference", why });
const forElements = (plan: EncodePlan): plan is ElementEncode => plan.kind !== "reference" && plan.kind !== "copy";

export function planQuantize(scheme: Scheme): QuantizePlan {
  const { element, scale, offset, tags } = scheme;
  const steps = scheme.quantize.steps?.(scheme);
  if (!steps) return reference("the rule is a search, or is known as a function only");
  if (steps.kind === "cast") {
    const plan = planEncode(element);
    return element.bits % 8 === 0 && plan.kind !== "reference"
      ? { kind: "cast", element: plan }
      : reference("bits of the element");
  }
  if (!scale || element.bits > 8) return reference("no scale, or more than 8 bits");
  if (offset && (offset.per !== scale.per || offset.super)) return reference("groups of scale and offset differ");
  if (scale.rows !== undefined && (!goesByAmax(steps) || sumsErrors(steps)))
    return reference("tiles under a rule that asks for more than amax");
  const elementPlan = planEncode(element, elementOptions(steps));
  if (!forElements(elementPlan)) return reference(`elements of ${element.name}`);
  if (steps.kind === "power" && steps.positiveZero && !clearsSign(element, elementPlan)) {
    return reference("no sign bit to clear");
  }
  const variants = steps.kind === "mixture" ? steps.variants.map((v) => planEncode(v, elementOptions(steps))) : [];
  if (!variants.every(byLanes)) return reference("a codebook of the mixture needs a table");
  const [scaleEncode, scaleDecode] = [planEncode(scale.format), planDecode(scale.format)];
  if (computesScale(steps) && !readable(scaleEncode, scaleDecode.kind))
    return reference(`scales of ${scale.format.name}`);
  if (steps.kind === "scaled" && Math.fround(steps.max) !== steps.max) return reference("a divisor beyond f32");
  if (steps.kind === "min-max" && offset?.format !== scale.format)
    return reference("formats of scale and offset differ");
  return {
    kind: "blocks",
    steps,
    block: {
      steps,
      element: elementPlan,
      elementBits: element.bits,
      scale: scaleEncode,
      scaleDecode,
      scaleBits: scale.format.bits,
      offset: offset && scaleEncode,
      offsetBits: (offset ?? tags)?.format.bits ?? 8,
      variants,
    },
  };
}

const byLanes = (plan: EncodePlan): plan is LaneEncode => forElements(plan) && plan.kind !== "table";

/** Whether elements that become negative zero can become zero: because there is none, or as a sign bit that is not set. */
function clearsSign(element: NumberFormat, plan: ElementEncode): boolean {
  if (plan.kind === "ladder") return plan.signMagnitude;
  return plan.kind !== "table" || !decodeTable(element).some((value) => Object.is(value, -0));
}

/** Whether a rule asks nothing else of a group than its largest magnitude. */
const goesByAmax = ({ kind }: RuleSteps) => kind === "power" || kind === "two-level" || kind === "scaled";

/** Whether a rule compares sums of errors, to which the room that fills a group up must add nothing. */
export const sumsErrors = (steps: RuleSteps) =>
  steps.kind === "mixture" || ("search" in steps && steps.search !== undefined);

/** How a rule encodes its elements. */
export function elementOptions(steps: RuleSteps): EncodeOptions {
  return steps.kind === "power" ? steps.element : { overflow: "saturate" };
}

/** Rules that look their scales up need not encode them. */
const computesScale = ({ kind }: RuleSteps) => kind !== "power" && kind !== "two-level" && kind !== "marked";
const readable = (encode: EncodePlan, decode: string) =>
  (encode.kind === "minifloat" && decode === "minifloat") ||
  (encode.kind === "prefix" && decode === "prefix") ||
  (encode.kind === "copy" && decode === "copy");

export type DequantizePlan =
  | { readonly kind: "cast"; readonly element: LaneDecode }
  | { readonly kind: "blocks"; readonly element: LaneDecode; readonly tags?: TagCodec["kind"] }
  | { readonly kind: "reference"; readonly why: string };

export function planDequantize({ element, scale, offset, tags }: Scheme): DequantizePlan {
  if (tags && (!tags.kind || tags.per !== scale?.per || tags.element.bits > 16 || offset)) {
    return { kind: "reference", why: "the meaning of codes depends on tags" };
  }
  const plan = planDecode(element);
  if (plan.kind === "reference") return { kind: "reference", why: plan.why };
  if (!scale)
    return element.bits % 8 === 0 ? { kind: "cast", element: plan } : { kind: "reference", why: "bits of the element" };
  if (element.bits > 8) return { kind: "reference", why: "more than 8 bits" };
  if (offset && offset.per !== scale.per) return { kind: "reference", why: "groups of scale and offset differ" };
  return { kind: "blocks", element: plan, ...(tags && { tags: tags.kind }) };
}

/** The path of a format's plan. */
export function pathOf(plan: { readonly kind: string; readonly why?: string }): Path {
  if (plan.kind === "reference") return { path: "reference", why: plan.why ?? "" };
  return { path: plan.kind === "table" ? "table" : "generated" };
}
