/** What both forms of image_operations.ts take. */
import type { TensorInfo } from "../../tfjs.ts";

/** What makes grey levels model input. */
export interface Finish {
  /** Mean of each channel, of values 0 to 255. */
  mean: number[];
  /** Variance of each channel. */
  variance: number[];
}

/** The inputs of the kernel. */
export interface ImageOperations {
  images: TensorInfo;
  operations: TensorInfo | undefined;
  erased: TensorInfo | undefined;
  finish: Finish | undefined;
}
