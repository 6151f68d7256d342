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

/** One over the standard deviation of each channel. */
export function inverseDeviations(variance: number[]): number[] {
  return variance.map((value) => 1 / Math.max(Math.sqrt(value), LEAST_DEVIATION));
}

/** A number of each of up to four channels as uniform fields, a vec4 with zeros at its end. */
export function fourFloats(values: number[]): ["f", number][] {
  return Array.from({ length: 4 }, (_, c) => ["f", values[c] ?? 0]);
}
