/**
 * What the tensors of a computation are stored as on webgpu.
 *
 * With f16 the large ones are stored in half the bytes. All kernels go on to compute in float32:
 * sums, softmax, statistics and the weights themselves are float32 as before, and a value is rounded
 * once, where it is written.
 */

/** What the large tensors of a step may be stored as. */
export const precisions = ["f32", "f16"] as const;
/** @internal */
type Precisions = typeof precisions;

/** What the large tensors of a step are stored as. */
export type Precision = Precisions[number];

/**
 * What a tensor is to a model, which decides how it is stored as f16: times this power of two. A
 * float16 goes up to 65,504 and has all its digits down to 6.1e-5 and none below 6e-8. Gradients are
 * those of the mean loss and lie far below the middle of that; the factor is loss scaling, taken back
 * wherever they are read. What it lifts out of the range becomes infinite, and is noticed as such.
 */
const factors = {
  activation: 1,
  /** Of an activation: up to 4, all digits down to 4e-9. */
  gradient: 2 ** 14,
  /** Of a kernel, a sum over all tokens of a batch: up to 256, all digits down to 2e-7. */
  kernelGradient: 2 ** 8,
} as const;

/** @internal */
type Factors = typeof factors;

/** What a tensor is to a model. */
export type Role = keyof Factors;

let current: Precision = "f32";

/** Calls `compute`, which must be synchronous, with the tensors that it makes stored so. */
export function inPrecision<T>(precision: Precision, compute: () => T): T {
  const before = current;
  current = precision;
  try {
    return compute();
  } finally {
    current = before;
  }
}

/** The factor by which a tensor that is made now is stored as f16; undefined where it is float32. */
export function halfFactorOf(role: Role): number | undefined {
  return current === "f16" ? factors[role] : undefined;
}
