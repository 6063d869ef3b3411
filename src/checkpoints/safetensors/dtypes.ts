/**
 * The element types of safetensors, in the order of the format's own enumeration.
 * Source: safetensors/src/tensor.rs, `enum Dtype`.
 */
export interface Dtype {
  readonly name: string;
  readonly bits: number;
  /**
   * The scheme without scales that holds such a tensor. Types without one are listed, not read: integers and booleans
   * are no weights by themselves, complex numbers have no scheme, and the format does not define in which order the
   * bits of the F6 types stand.
   */
  readonly scheme?: string;
}

export const DTYPES: readonly Dtype[] = [
  { name: "BOOL", bits: 8 },
  // Two to a byte, the first element in the low nibble, as PyTorch's float4_e2m1fn_x2.
  { name: "F4", bits: 4, scheme: "e2m1" },
  { name: "F6_E2M3", bits: 6 },
  { name: "F6_E3M2", bits: 6 },
  { name: "U8", bits: 8 },
  { name: "I8", bits: 8 },
  { name: "F8_E5M2", bits: 8, scheme: "e5m2" },
  { name: "F8_E4M3", bits: 8, scheme: "e4m3fn" },
  { name: "F8_E8M0", bits: 8, scheme: "e8m0" },
  { name: "F8_E4M3FNUZ", bits: 8, scheme: "e4m3fnuz" },
  { name: "F8_E5M2FNUZ", bits: 8, scheme: "e5m2fnuz" },
  { name: "I16", bits: 16 },
  { name: "U16", bits: 16 },
  { name: "F16", bits: 16, scheme: "f16" },
  { name: "BF16", bits: 16, scheme: "bf16" },
  { name: "I32", bits: 32 },
  { name: "U32", bits: 32 },
  { name: "F32", bits: 32, scheme: "f32" },
  { name: "C64", bits: 64 },
  // Read with one rounding to the nearest f32; a finite number beyond f32 is an error.
  { name: "F64", bits: 64, scheme: "f32" },
  { name: "I64", bits: 64 },
  { name: "U64", bits: 64 },
];

export const dtypeNamed: ReadonlyMap<string, Dtype> = new Map(DTYPES.map((dtype) => [dtype.name, dtype]));

/** The type that stores codes of a number format as they are: e4m3fn -> F8_E4M3. Undefined: they go into U8. */
export function dtypeOfFormat(format: string): Dtype | undefined {
  if (format === "int8") return dtypeNamed.get("I8");
  return DTYPES.find((dtype) => dtype.scheme === format && dtype.bits !== 64 && dtype.bits >= 8);
}
