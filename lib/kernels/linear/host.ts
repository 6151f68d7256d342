/** Inner loops of `linear` on the wasm and cpu backends. */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import { randomBits, type StreamKey } from "../../random.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { normalCdf, normalPdf, tanhCdf, tanhPdf } from "../gelu.ts";

/** Steps that follow a product, in this order; the arrays are whole tensors, row after row. */
export interface RowFinish {
  /** [columns]. */
  bias?: Float32Array;
  /** GELU, the exact one or that by tanh. */
  gelu: boolean | "tanh";
  drop?: { threshold: number; scale: number; key: StreamKey };
  /** y's size, or a whole part of it that repeats. */
  residual?: Float32Array;
  /** Receives, at y's size, the derivative of dropout(gelu(z)) to z. */
  slope?: Float32Array;
}

/** Everything after the product, in place, in one pass over y [rows, columns]. */
export function finishRows(
  y: Float32Array,
  columns: number,
  { bias, gelu, slope, drop, residual }: RowFinish,
): void {
  const repeat = residual?.length ?? 1;
  let i = 0;
  for (let start = 0; start < y.length; start += columns) {
    let r = start % repeat;
    for (let column = 0; column < columns; column++, i++, r++) {
      let value = bias ? y[i]! + bias[column]! : y[i]!;
      let factor = 1;
      if (gelu) {
        const cdf = gelu === "tanh" ? tanhCdf(value) : normalCdf(value);
        if (slope) {
          factor = cdf + value * (gelu === "tanh" ? tanhPdf(value, cdf) : normalPdf(value));
        }
        value *= cdf;
      }
      if (drop) {
        const keep = randomBits(drop.key, i) < drop.threshold ? 0 : drop.scale;
        value *= keep;
        factor *= keep;
      }
      if (slope) slope[i] = factor;
      y[i] = residual ? value + residual[r]! : value;
    }
  }
}

/** Products element by element; `to` may be one of the factors. */
export function multiplyInto(to: Float32Array, a: Float32Array, b: Float32Array): void {
  for (let i = 0; i < to.length; i++) to[i] = a[i]! * b[i]!;
}

/** The sum of a tensor over its leading dimensions, down to `shape`, added in float64. */
export function sumRows(x: TensorInfo, shape: number[]): TensorInfo {
  const output = hostAllocate(shape);
  const from = hostFloats(x);
  const columns = tf.util.sizeFromShape(shape);
  const sums = new Float64Array(columns);
  for (let start = 0; start < from.length; start += columns) {
    for (let column = 0; column < columns; column++) sums[column]! += from[start + column]!;
  }
  hostFloats(output).set(sums);
  return output;
}
