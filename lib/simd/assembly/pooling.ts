/** Sequence pooling, one image a task; see sequence_pooling.ts. */
import {
  constant, exp2, horizontalSum, loadUpTo, storeUpTo, writeConstants,
} from "./vectors";

/** A product of rows of numbers. */
@inline function dot(a: usize, b: usize, count: i32): f32 {
  let sum = f32x4.splat(0), at: usize = 0, left = count;
  for (; left >= 4; left -= 4, at += 16) {
    sum = f32x4.relaxed_madd(v128.load(a + at), v128.load(b + at), sum);
  }
  if (left > 0) sum = f32x4.relaxed_madd(loadUpTo(a + at, left), loadUpTo(b + at, left), sum);
  return horizontalSum(sum);
}

/** The pooled tokens of an image, and their weights. */
export function sequencePoolingTask(
  image: i32, scratch: usize, x: usize, kernel: usize, bias: usize, y: usize, weights: usize,
  tokens: i32, dim: i32,
): void {
  writeConstants(scratch);
  const row = <usize>dim * 4, base = x + <usize>(image * tokens) * row;
  const weight = weights + <usize>(image * tokens) * 4;
  const offset = load<f32>(bias);
  let most: f32 = -Infinity;
  for (let t = 0; t < tokens; t++) {
    const score = offset + dot(base + <usize>t * row, kernel, dim);
    store<f32>(weight + <usize>t * 4, score);
    // NaN, once met, stays.
    most = max(most, score);
  }
  const largest = f32x4.splat(most), log2e = constant(1.4426950408889634, 0);
  let total = f32x4.splat(0);
  for (let t = 0; t < tokens; t += 4) {
    const at = weight + <usize>t * 4, lanes = tokens - t;
    const power = exp2(f32x4.mul(f32x4.sub(loadUpTo(at, lanes), largest), log2e), scratch);
    storeUpTo(at, power, lanes);
    // What lies beyond the last token is no weight.
    total = f32x4.add(total, lanes >= 4 ? power : loadUpTo(at, lanes));
  }
  const scale: f32 = (<f32>1) / horizontalSum(total);
  for (let t = 0; t < tokens; t++) {
    const at = weight + <usize>t * 4;
    store<f32>(at, load<f32>(at) * scale);
  }
  const to = y + <usize>image * row;
  for (let d = 0; d < dim; d += 4) {
    const lanes = dim - d;
    let sum = f32x4.splat(0), from = base + <usize>d * 4;
    for (let t = 0; t < tokens; t++, from += row) {
      const factor = f32x4.splat(load<f32>(weight + <usize>t * 4));
      sum = f32x4.relaxed_madd(factor, loadUpTo(from, lanes), sum);
    }
    storeUpTo(to + <usize>d * 4, sum, lanes);
  }
}

/**
 * The gradient of an image's tokens, and what the image adds to those of kernel and bias, a row of
 * `dKernel` and of `dBias`.
 *
 * @param scratch Memory for a float of each token.
 */
export function sequencePoolingGradTask(
  image: i32, scratch: usize, dy: usize, x: usize, kernel: usize, weights: usize, dx: usize,
  dKernel: usize, dBias: usize, tokens: i32, dim: i32,
): void {
  const row = <usize>dim * 4, first = <usize>(image * tokens) * row;
  const weight = weights + <usize>(image * tokens) * 4;
  const given = dy + <usize>image * row;
  let mean: f32 = 0;
  for (let t: usize = 0; t < <usize>tokens; t++) {
    const gradient = dot(x + first + t * row, given, dim);
    store<f32>(scratch + t * 4, gradient);
    mean += load<f32>(weight + t * 4) * gradient;
  }
  let sum: f32 = 0;
  for (let t: usize = 0; t < <usize>tokens; t++) {
    const score = load<f32>(weight + t * 4) * (load<f32>(scratch + t * 4) - mean);
    store<f32>(scratch + t * 4, score);
    sum += score;
  }
  store<f32>(dBias + <usize>image * 4, sum);
  for (let d = 0; d < dim; d += 4) {
    const lanes = dim - d;
    const factor = loadUpTo(kernel + <usize>d * 4, lanes);
    const upstream = loadUpTo(given + <usize>d * 4, lanes);
    let ofKernel = f32x4.splat(0), at = first + <usize>d * 4;
    for (let t: usize = 0; t < <usize>tokens; t++, at += row) {
      const score = f32x4.splat(load<f32>(scratch + t * 4));
      const share = f32x4.mul(f32x4.splat(load<f32>(weight + t * 4)), upstream);
      ofKernel = f32x4.relaxed_madd(score, loadUpTo(x + at, lanes), ofKernel);
      storeUpTo(dx + at, f32x4.relaxed_madd(score, factor, share), lanes);
    }
    storeUpTo(dKernel + <usize>image * row + <usize>d * 4, ofKernel, lanes);
  }
}
