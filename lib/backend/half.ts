/**
 * Tensors whose values lie on the device as f16. To tfjs each is a float32 tensor of its shape, and
 * only its buffer has half the bytes: `dispatch` of compute.ts makes them and has our kernels read
 * them, and widen.ts stands before what tfjs itself does.
 */
import { type TensorInfo, tf } from "../tfjs.ts";
import type { WebgpuInternals } from "./tfjs_internals.ts";

/** How the values of a tensor lie in its buffer. */
export interface Half {
  /** A power of two by which they are multiplied. */
  factor: number;
  /** Their number. */
  size: number;
}

const halves = new WeakMap<object, Half>();

/** How a tensor's values lie in its buffer if that is as f16; undefined for float32. */
export function halfOf({ dataId }: Pick<TensorInfo, "dataId">): Half | undefined {
  return halves.get(dataId);
}

/** Makes a new tensor, which has no buffer yet, one of f16. */
export function makeHalf(
  { dataId, shape }: TensorInfo,
  factor: number,
  { tensorMap }: WebgpuInternals,
): void {
  const size = tf.util.sizeFromShape(shape);
  halves.set(dataId, { factor, size });
  // The bytes of the buffer follow from it, as many float32 as lie in them.
  tensorMap.get(dataId).shape = [Math.ceil(size / 2)];
}
