/** What follows a dense layer's product, and sums over rows. */
import { Product, product } from "./product";
import {
  constant, exp2, indicesFrom, loadUpTo, randomBits, storeUpTo, writeConstants,
} from "./vectors";

/** Steps that follow a product, in this order; addresses that are 0 stand for what is not there. */
@unmanaged
export class Finish {
  /** `[columns]` */
  bias: i32;
  /** GELU: 1 the exact one, 2 that by tanh. */
  gelu: i32;
  /** Whether elements are dropped. */
  drops: i32;
  word0: i32;
  word1: i32;
  /** The place in the stream that counts as element 0. */
  firstBits: i32;
  threshold: i32;
  scale: f32;
  /** Rows after which the residual begins again. */
  residualRows: i32;
  residual: i32;
  /** Receives the derivative of dropout(gelu(z)) to z. */
  slope: i32;
  /** Of C's size; multiplies last. */
  factor: i32;
  /** 0, which the compiler cannot know; see `constant`. */
  zero: f32;
}

const TANH: i32 = 2;

/** In place, on rows of the product's C, which has no skips. */
export function finishRows(
  p: Product, f: Finish, firstRow: i32, endRow: i32, firstColumn: i32, endColumn: i32, scratch: usize,
): void {
  writeConstants(scratch);
  const columns = p.columns, bias = <usize>f.bias, gelu = f.gelu, drops = f.drops;
  const firstBits = f.firstBits;
  const slopes = <usize>f.slope, residuals = <usize>f.residual;
  const factors = <usize>f.factor;
  const zero = f.zero;
  const one = constant(1, zero), half = constant(-0.72134752044, zero), sign = constant(0.28, zero);
  const p5 = constant(-0.10580828, zero), p4 = constant(0.38987418, zero), p3 = constant(-0.23699378, zero);
  const p2 = constant(0.26891044, zero), p1 = constant(0.06749663, zero), p0 = constant(0.1165208, zero);
  const density = constant(0.3989422804014327, zero), none = f32x4.splat(0);
  const limit = constant(10, zero), cubic = constant(0.044715, zero), three = constant(3, zero);
  // 2 sqrt(2 / pi), and that times log2(e).
  const twiceRoot = constant(1.5957691216057308, zero), twiceLog2 = constant(2.302208198144325, zero);
  const word0 = i32x4.splat(f.word0), word1 = i32x4.splat(f.word1);
  const threshold = i32x4.splat(f.threshold), scale = f32x4.splat(f.scale);
  for (let m = firstRow; m < endRow; m++) {
    const row = <usize>(m * columns) * 4;
    const y = <usize>p.cBase + row, slope = slopes + row;
    const residual = residuals ? residuals + <usize>(m % f.residualRows * columns) * 4 : 0;
    for (let n = firstColumn; n < endColumn; n += 4) {
      const at = <usize>n * 4, lanes = endColumn - n;
      let value = loadUpTo(y + at, lanes);
      if (bias) value = f32x4.add(value, loadUpTo(bias + at, lanes));
      let factor = one;
      if (gelu == TANH) {
        // Beyond, the power leaves the range of float32, and cdf is 0 or 1 long before.
        const x = f32x4.min(f32x4.max(value, f32x4.neg(limit)), limit);
        const square = f32x4.mul(x, x);
        // 1 / (1 + 2^-|y|) is right for y >= 0, and one minus it for the others.
        const y = f32x4.mul(f32x4.mul(x, f32x4.relaxed_madd(square, cubic, one)), twiceLog2);
        const power = exp2(f32x4.neg(f32x4.abs(y)), scratch);
        const upper = f32x4.div(one, f32x4.add(power, one));
        const lower = f32x4.mul(power, upper);
        const positive = f32x4.ge(y, none);
        const cdf = v128.bitselect(upper, lower, positive);
        const slope = f32x4.relaxed_madd(square, f32x4.mul(cubic, three), one);
        const density = f32x4.mul(f32x4.mul(f32x4.mul(upper, lower), slope), twiceRoot);
        factor = f32x4.relaxed_madd(value, density, cdf);
        value = f32x4.mul(value, cdf);
      } else if (gelu) {
        // The tail of the normal distribution as in gelu.ts.
        const bell = exp2(f32x4.mul(f32x4.mul(value, value), half), scratch);
        const t = f32x4.div(one, f32x4.relaxed_madd(f32x4.abs(value), sign, one));
        let poly = f32x4.relaxed_madd(t, p5, p4);
        poly = f32x4.relaxed_madd(poly, t, p3);
        poly = f32x4.relaxed_madd(poly, t, p2);
        poly = f32x4.relaxed_madd(poly, t, p1);
        poly = f32x4.relaxed_madd(poly, t, p0);
        const tail = f32x4.mul(f32x4.mul(poly, t), bell);
        const cdf = v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(value, none));
        factor = f32x4.relaxed_madd(f32x4.mul(value, density), bell, cdf);
        value = f32x4.mul(value, cdf);
      }
      if (drops) {
        const bits = randomBits(indicesFrom(firstBits + m * columns + n), word0, word1, scratch);
        const dropped = i32x4.lt_u(bits, threshold);
        const keep = v128.andnot(scale, dropped);
        value = f32x4.mul(value, keep);
        factor = f32x4.mul(factor, keep);
      }
      if (slopes) storeUpTo(slope + at, factor, lanes);
      if (residual) value = f32x4.add(value, loadUpTo(residual + at, lanes));
      if (factors) value = f32x4.mul(value, loadUpTo(factors + row + at, lanes));
      storeUpTo(y + at, value, lanes);
    }
  }
}

/** The task-th block of a product, finished where it still is in the cache; `f` may be 0. */
export function productTask(
  task: i32, scratch: usize, p: Product, rowsEach: i32, columnsEach: i32, f: usize,
): void {
  const blocks = (p.rows + rowsEach - 1) / rowsEach;
  const row = task % blocks * rowsEach, column = task / blocks * columnsEach;
  const endRow = min(p.rows, row + rowsEach), endColumn = min(p.columns, column + columnsEach);
  product(p, row, endRow, column, endColumn, scratch);
  if (f) finishRows(p, changetype<Finish>(f), row, endRow, column, endColumn, scratch);
}

/** to = a * b, element by element. */
export function multiplyTask(
  task: i32, scratch: usize, to: usize, a: usize, b: usize, size: i32, each: i32,
): void {
  const end = min(size, (task + 1) * each);
  for (let i = task * each; i < end; i += 4) {
    const at = <usize>i * 4, lanes = end - i;
    storeUpTo(to + at, f32x4.mul(loadUpTo(a + at, lanes), loadUpTo(b + at, lanes)), lanes);
  }
}

/**
 * Sums of blocks of `rowsEach` rows, `[blocks, columns]`: task after task one block. Which rows make
 * a block must not depend on who adds them.
 */
export function sumRowsTask(
  task: i32, scratch: usize, to: usize, from: usize, rows: i32, columns: i32, rowsEach: i32,
): void {
  const first = task * rowsEach, end = min(rows, first + rowsEach);
  const sums = to + <usize>(task * columns) * 4;
  for (let n = 0; n < columns; n += 4) {
    const lanes = columns - n;
    let sum = f32x4.splat(0);
    let at = from + <usize>(first * columns + n) * 4;
    for (let m = first; m < end; m++, at += <usize>columns * 4) {
      sum = f32x4.add(sum, loadUpTo(at, lanes));
    }
    storeUpTo(sums + <usize>n * 4, sum, lanes);
  }
}
