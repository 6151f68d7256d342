/** Layer normalization, a block of rows a task. */
import { horizontalSum, loadUpTo, storeUpTo } from "./vectors";

/** One normalization forward or backward; addresses that are 0 stand for what is not there. */
@unmanaged
export class Normalization {
  x: i32;
  gamma: i32;
  beta: i32;
  y: i32;
  /** Mean and reciprocal deviation of each row. */
  moments: i32;
  dy: i32;
  dx: i32;
  /** Added to dx. */
  added: i32;
  /** `[blocks, 2, dim]`: each block's part of the gradients of gamma and beta. */
  parts: i32;
  rows: i32;
  dim: i32;
  rowsEach: i32;
  epsilon: f32;
}

export function layerNormTask(task: i32, scratch: usize, a: Normalization): void {
  const dim = a.dim, end = min(a.rows, (task + 1) * a.rowsEach);
  const none = f32x4.splat(0);
  for (let m = task * a.rowsEach; m < end; m++) {
    const row = <usize>(m * dim) * 4, x = <usize>a.x + row, y = <usize>a.y + row;
    let total = none;
    for (let n = 0; n < dim; n += 4) total = f32x4.add(total, loadUpTo(x + <usize>n * 4, dim - n));
    const mean = horizontalSum(total) / <f32>dim, means = f32x4.splat(mean);
    let squares = none;
    let n = 0;
    for (; n + 4 <= dim; n += 4) {
      const centered = f32x4.sub(v128.load(x + <usize>n * 4), means);
      squares = f32x4.relaxed_madd(centered, centered, squares);
    }
    let sum = horizontalSum(squares);
    for (; n < dim; n++) {
      const centered = load<f32>(x + <usize>n * 4) - mean;
      sum += centered * centered;
    }
    const scale = (<f32>1) / Mathf.sqrt(sum / <f32>dim + a.epsilon), scales = f32x4.splat(scale);
    for (n = 0; n < dim; n += 4) {
      const at = <usize>n * 4, lanes = dim - n;
      const normed = f32x4.mul(f32x4.sub(loadUpTo(x + at, lanes), means), scales);
      storeUpTo(
        y + at,
        f32x4.relaxed_madd(normed, loadUpTo(<usize>a.gamma + at, lanes), loadUpTo(<usize>a.beta + at, lanes)),
        lanes,
      );
    }
    store<f32>(<usize>a.moments + <usize>m * 8, mean);
    store<f32>(<usize>a.moments + <usize>m * 8, scale, 4);
  }
}

export function layerNormGradTask(task: i32, scratch: usize, a: Normalization): void {
  const dim = a.dim, end = min(a.rows, (task + 1) * a.rowsEach);
  const none = f32x4.splat(0), inverse = (<f32>1) / <f32>dim;
  const dGamma = <usize>a.parts + <usize>(task * 2 * dim) * 4, dBeta = dGamma + <usize>dim * 4;
  for (let n = 0; n < 2 * dim; n++) store<f32>(dGamma + <usize>n * 4, 0);
  for (let m = task * a.rowsEach; m < end; m++) {
    const row = <usize>(m * dim) * 4;
    const x = <usize>a.x + row, dy = <usize>a.dy + row, dx = <usize>a.dx + row;
    const means = f32x4.splat(load<f32>(<usize>a.moments + <usize>m * 8));
    const scales = f32x4.splat(load<f32>(<usize>a.moments + <usize>m * 8, 4));
    let plain = none, weighted = none;
    for (let n = 0; n < dim; n += 4) {
      const at = <usize>n * 4, lanes = dim - n;
      const normed = f32x4.mul(f32x4.sub(loadUpTo(x + at, lanes), means), scales);
      const given = loadUpTo(dy + at, lanes), scaled = f32x4.mul(given, loadUpTo(<usize>a.gamma + at, lanes));
      storeUpTo(dGamma + at, f32x4.relaxed_madd(given, normed, loadUpTo(dGamma + at, lanes)), lanes);
      storeUpTo(dBeta + at, f32x4.add(loadUpTo(dBeta + at, lanes), given), lanes);
      plain = f32x4.add(plain, scaled);
      weighted = f32x4.relaxed_madd(scaled, normed, weighted);
    }
    const plainMean = f32x4.splat(horizontalSum(plain) * inverse);
    const weightedMean = f32x4.splat(horizontalSum(weighted) * inverse);
    for (let n = 0; n < dim; n += 4) {
      const at = <usize>n * 4, lanes = dim - n;
      const normed = f32x4.mul(f32x4.sub(loadUpTo(x + at, lanes), means), scales);
      const scaled = f32x4.mul(loadUpTo(dy + at, lanes), loadUpTo(<usize>a.gamma + at, lanes));
      let value = f32x4.sub(f32x4.sub(scaled, plainMean), f32x4.mul(normed, weightedMean));
      value = f32x4.mul(value, scales);
      if (a.added) value = f32x4.add(value, loadUpTo(<usize>a.added + row + at, lanes));
      storeUpTo(dx + at, value, lanes);
    }
  }
}
