/** Options that both forms of augment_batch.ts share. */
import type { Preprocessing } from "../../data/preprocessing.ts";
import type { TensorInfo } from "../../tfjs.ts";

/** The stored images and what becomes of them. */
export interface AugmentOptions extends Preprocessing {
  /** Side of the square output images, in pixels. */
  size: number;
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
