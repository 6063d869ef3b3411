/** Numbers as people read them. Machines get the numbers themselves, through `--json`. */

/** 9102336 -> "9,102,336". */
export const grouped = (value: number): string => Math.round(value).toLocaleString("en-US");

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** 9102336 -> "8.68 MiB": binary units, three significant digits. */
export function byteSize(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  const value = bytes / 1024 ** power;
  return power === 0 ? `${bytes} B` : `${significant(value, 3)} ${UNITS[power]}`;
}

/** 93.4 -> "1 min 33 s"; under ten seconds with one decimal. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** `digits` significant digits, without an exponent where one can do without: 0.0123, 31.2, 1,240. */
export function significant(value: number, digits: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  if (magnitude < -5) return value.toExponential(digits - 1);
  if (magnitude >= digits) return grouped(value);
  return value.toFixed(Math.max(0, digits - 1 - magnitude));
}

/** With its sign, also when positive: a difference. */
export const signed = (value: number, decimals: number): string =>
  `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(decimals)}`;

/** 0.9731 -> "97.31 %". */
export const percent = (fraction: number, decimals = 2): string => `${(100 * fraction).toFixed(decimals)} %`;

/** [256, 768] -> "256 x 768". */
export const dimensions = (shape: readonly number[]): string => (shape.length === 0 ? "scalar" : shape.join(" x "));
