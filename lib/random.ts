/**
 * Counter-based random numbers: the value at (seed, stream, step, index) is a pure function of the
 * four, so any step can be recomputed alone, on any backend, and a resumed run is the same run.
 *
 * The mixing rounds are those of Wellons' "lowbias32" integer hash (a bijection of 32-bit words
 * with low avalanche bias). A stream is keyed by two words: the first enters before the first
 * multiplication, the second between the two, so that two streams are not shifted or permuted
 * copies of one another. The WGSL form below computes the same bits as the TypeScript form.
 */

const MULTIPLIER_A = 0x21f0aaad;
const MULTIPLIER_B = 0xd35a2d97;

/** Purposes of random numbers; each has its own stream, so uses never share numbers. */
export const streams = {
  shuffle: 1,
  augment: 2,
  shapes: 4,
  split: 5,
  crop: 6,
  randaugment: 7,
  trivialaugment: 8,
  jitter: 9,
  resizedcrop: 10,
  erase: 11,
  mixing: 20,
  mixShare: 21,
} as const;

/** The two 32-bit words that key one stream at one step, and where in it one begins. */
export interface StreamKey {
  readonly word0: number;
  readonly word1: number;
  /** The place in the stream that counts as index 0: where a part of a batch begins in the whole. */
  readonly first: number;
}

/** A bijective 32-bit mixing function (Wellons, "lowbias32"). */
function mix32(value: number): number {
  value ^= value >>> 16;
  value = Math.imul(value, MULTIPLIER_A);
  value ^= value >>> 15;
  value = Math.imul(value, MULTIPLIER_B);
  value ^= value >>> 15;
  return value >>> 0;
}

/** The key of `stream` under `seed` at `step`, from `first` on; each is taken modulo 2^32. */
export function streamKey(seed: number, stream: number, step: number, first = 0): StreamKey {
  const a = mix32((seed ^ 0x9e3779b9) >>> 0);
  const b = mix32((a + stream) >>> 0);
  const word0 = mix32(b ^ step);
  const word1 = mix32((word0 + 0x85ebca6b) >>> 0);
  return { word0, word1, first };
}

/** 32 random bits (an unsigned integer) at `index` of the stream. */
export function randomBits(key: StreamKey, index: number): number {
  let x = (index + key.first) ^ key.word0;
  x ^= x >>> 16;
  x = Math.imul(x, MULTIPLIER_A);
  x ^= x >>> 15;
  x = (x + key.word1) | 0;
  x = Math.imul(x, MULTIPLIER_B);
  x ^= x >>> 15;
  return x >>> 0;
}

/** A uniform number in [0, 1) with 24 bits, at `index` of the stream. */
export function randomUniform(key: StreamKey, index: number): number {
  return (randomBits(key, index) >>> 8) * 2 ** -24;
}

/**
 * A number of the standard normal distribution at `index` of the stream, by Box and Muller from the
 * bits at 2 * index and the next.
 */
export function randomNormal(key: StreamKey, index: number): number {
  // Above 0, whose logarithm is infinite.
  const radius = Math.sqrt(-2 * Math.log((randomBits(key, 2 * index) + 1) / 2 ** 32));
  return radius * Math.cos(2 * Math.PI * (randomBits(key, 2 * index + 1) / 2 ** 32));
}

/**
 * A number of the beta distribution with both parameters `alpha`, above 0: the share of one of two
 * gammas in their sum, from all of the stream. For an alpha near 0 it is near 0 or 1.
 */
export function randomBeta(key: StreamKey, alpha: number): number {
  // Logarithms, since both gammas may be below the least float.
  return 1 / (1 + Math.exp(logOfGamma(key, alpha, 1) - logOfGamma(key, alpha, 0)));
}

/**
 * The logarithm of a number of the gamma distribution (Marsaglia and Tsang, 2000): of alpha + 1,
 * which their method wants at 1 or above, times a uniform number to the power of 1 / alpha.
 * @param which of two independent ones
 */
function logOfGamma(key: StreamKey, alpha: number, which: 0 | 1): number {
  const d = alpha + 2 / 3;
  const c = 1 / Math.sqrt(9 * d);
  // Above 0, whose logarithm is infinite.
  const logAt = (index: number) => Math.log((randomBits(key, index) + 1) / 2 ** 32);
  // Four words a try: two for the normal number, one to accept it, one for the power.
  for (let word = 4 * which;; word += 8) {
    const x = randomNormal(key, word / 2);
    const v = (1 + c * x) ** 3;
    if (v > 0 && logAt(word + 2) < x * x / 2 + d - d * v + d * Math.log(v)) {
      return Math.log(d * v) + logAt(word + 3) / alpha;
    }
  }
}

/** A seeded permutation of 0..count-1 (Fisher and Yates), independent of the backend. */
export function permutation(count: number, key: StreamKey): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    // Multiply-shift maps 32 random bits to 0..i; its bias is below count / 2^32.
    const j = Math.floor((randomBits(key, i) / 2 ** 32) * (i + 1));
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

/**
 * A stable 31-bit number for a name (FNV-1a), so that a layer's stream depends on its name only.
 */
export function streamOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 1) | 0;
}

/**
 * The bits below which an element is dropped: `randomBits < dropThreshold(rate)`.
 * The scale of the kept elements must be that of the threshold, see {@linkcode keepScale}.
 */
export function dropThreshold(rate: number): number {
  return Math.min(2 ** 32 - 1, Math.floor(rate * 2 ** 32));
}

/** Factor of the kept elements, so that the expected value is unchanged. */
export function keepScale(rate: number): number {
  return 1 / (1 - dropThreshold(rate) / 2 ** 32);
}

/** WGSL of {@linkcode mix32}, {@linkcode streamKey} and {@linkcode randomBits}. */
export const randomWgsl = /* wgsl */ `
fn mix32(v: u32) -> u32 {
  var x = v;
  x ^= x >> 16u; x *= ${MULTIPLIER_A}u;
  x ^= x >> 15u; x *= ${MULTIPLIER_B}u;
  return x ^ (x >> 15u);
}
fn stream_key(seed: u32, stream: u32, step: u32) -> vec2<u32> {
  let a = mix32(seed ^ 0x9e3779b9u);
  let b = mix32(a + stream);
  let word0 = mix32(b ^ step);
  return vec2<u32>(word0, mix32(word0 + 0x85ebca6bu));
}
fn random_bits(key: vec2<u32>, index: u32) -> u32 {
  var x = index ^ key.x;
  x ^= x >> 16u; x *= ${MULTIPLIER_A}u;
  x ^= x >> 15u; x += key.y; x *= ${MULTIPLIER_B}u;
  return x ^ (x >> 15u);
}
`;
