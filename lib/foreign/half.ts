/** Floats of 16 bits as float32. */

/** What each pattern of an IEEE half means; made at the first use. */
let halves: Float32Array | undefined;

function halfOf(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) *
    2 ** (exponent - 15);
}

/** The numbers of raw bits: F16 is IEEE's half, BF16 the upper half of a float32. All are exact. */
export function decodeHalf(
  bits: Uint16Array,
  dtype: "F16" | "BF16",
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  if (dtype === "BF16") {
    const words = new Uint32Array(values.buffer);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
    return values;
  }
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, i) => halfOf(i));
  for (let i = 0; i < bits.length; i++) values[i] = halves[bits[i]!]!;
  return values;
}
