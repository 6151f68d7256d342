/** Inputs of sequence pooling's kernels on every backend, and their sizes. */
import type { TensorInfo } from "../../tfjs.ts";

/** Forward. */
export interface PoolingInputs {
  /** `[batch, tokens, dim]` */
  x: TensorInfo;
  kernel: TensorInfo;
  bias: TensorInfo;
}

/** Backward. */
export interface PoolingGradInputs {
  dy: TensorInfo;
  x: TensorInfo;
  kernel: TensorInfo;
  /** `[batch, tokens]`. */
  weights: TensorInfo;
}

/** Sizes of the tokens. */
export function sizesOf({ shape }: TensorInfo): [batch: number, tokens: number, dim: number] {
  return shape as [number, number, number];
}
