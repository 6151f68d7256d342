/** What both forms of augment_batch.ts share. */
import type { TensorInfo } from "../../tfjs.ts";

/** The stored images and what becomes of them. */
export interface AugmentOptions {
  /** Of a stored image, in pixels. */
  height: number;
  /** Of a stored image, in pixels. */
  width: number;
  /** Bytes of a pixel, 1 to 4. */
  channels: number;
  /** Side of the square output images, in pixels. */
  size: number;
  /** Mean of each channel, of pixel values 0..255. */
  mean: number[];
  /** Variance of each channel. */
  variance: number[];
}

/** Keras's floor of the standard deviation, for a channel that never changes. */
const LEAST_DEVIATION = 1e-7;

/** The inputs of the kernel. */
export interface AugmentBatch {
  shards: TensorInfo[];
  indices: TensorInfo;
  transforms: TensorInfo | undefined;
  options: AugmentOptions;
}

/** The standard deviation of each channel. */
export function deviations(variance: number[]): number[] {
  return variance.map((value) => Math.max(Math.sqrt(value), LEAST_DEVIATION));
}
