/** Sizes of a convolution stage, and the inputs of its kernels on every backend. */
import type { TensorInfo } from "../../tfjs.ts";

/** Side of the convolution's kernels, of the pooling's windows, and what both see beyond an edge. */
export const KERNEL = 3;

/** The length that pooling with stride 2 makes of a side. */
export const pooled = (side: number): number => Math.ceil(side / 2);

/** Channels as the kernels hold them, a multiple of 4 so that four are one load. */
export const padded = (channels: number): number => Math.ceil(channels / 4) * 4;

/**
 * Images with a border of one zero pixel and channels filled up with zeros,
 * `[batch, height + 2, width + 2, padded(channels)]`: a window of three rows then is three runs of
 * memory, wherever it lies, and no load asks where the image ends.
 */
export interface FrameSizes {
  batch: number;
  /** Without the border. */
  height: number;
  width: number;
  /** Filled up. */
  channels: number;
}

/** The sizes of a frame. */
export function frameSizes({ shape }: TensorInfo): FrameSizes {
  const [batch, height, width, channels] = shape as [number, number, number, number];
  return { batch, height: height - 2, width: width - 2, channels };
}

/** The shape of a frame. */
export function frameShape({ batch, height, width, channels }: FrameSizes): number[] {
  return [batch, height + 2, width + 2, channels];
}

/** A stage forward. */
export interface StageInputs {
  frame: TensorInfo;
  /** `[3, 3, in, out]`. */
  kernel: TensorInfo;
}

/** The gradient through relu and pooling. */
export interface PoolGradInputs {
  /** Of the pooled images, `[…, columns]` row by row; columns are the filters, filled up or not. */
  dy: TensorInfo;
  /** int32 `[batch, pooled height, pooled width, padded(filters) / 4]`, a byte for each filter. */
  places: TensorInfo;
}

/** The sizes of the places of a stage's values; `vectors` are of four filters. */
export function placesSizes({ shape }: TensorInfo) {
  const [batch, pooledHeight, pooledWidth, vectors] = shape as [number, number, number, number];
  return { batch, pooledHeight, pooledWidth, vectors };
}

/** The place of a window none of whose values is above 0; the others are 0 to 8, row by row. */
export const NOWHERE = 9;

/** The gradient of a stage's kernel. */
export interface GradKernelInputs {
  frame: TensorInfo;
  /** The convolution's gradient, as a frame. */
  dz: TensorInfo;
}

/** The gradient of a stage's input. */
export interface GradXInputs {
  dz: TensorInfo;
  kernel: TensorInfo;
}
