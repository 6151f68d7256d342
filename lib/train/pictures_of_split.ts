/** Images of a split as the model sees them, as bytes for people to look at. */
import type { RunConfig } from "../config/run.ts";
import type { ImageSplit } from "../data/dataset.ts";
import { resizeImage } from "../data/image/resize.ts";
import type { Preprocessing } from "../data/preprocessing.ts";
import type { Picture } from "../report/patches.ts";

/** Pixels of a side that a page shows of an image at most. */
const mostPixels = 96;

/** A split of so many images alone, and their indices in it; a stream stays what it is. */
export function subset(
  split: ImageSplit,
  indices: ArrayLike<number>,
): { images: ImageSplit; indices: Int32Array } {
  if (split.streamed) return { images: split, indices: Int32Array.from(indices) };
  const stride = split.images.length / split.count;
  const count = indices.length;
  const images = new Uint8Array(count * stride);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const index = indices[i]!;
    images.set(split.images.subarray(index * stride, (index + 1) * stride), i * stride);
    labels[i] = split.labels[index]!;
  }
  return {
    images: { images, labels, count },
    indices: Int32Array.from({ length: count }, (_, i) => i),
  };
}

/**
 * The pictures of a batch, at most 96 pixels a side.
 * @param values `[batch, imageSize, imageSize, channels]`, as the model takes them
 */
export function picturesOf(
  values: Float32Array,
  { imageSize: size, channels }: Pick<RunConfig, "imageSize" | "channels">,
  { mean, variance }: Pick<Preprocessing, "mean" | "variance">,
): Picture[] {
  const length = size * size * channels;
  return Array.from({ length: values.length / length }, (_, i) => {
    const clamped = Uint8ClampedArray.from(
      values.subarray(i * length, (i + 1) * length),
      (value, at) => value * Math.sqrt(variance[at % channels]!) + mean[at % channels]!,
    );
    const data = new Uint8Array(clamped.buffer);
    if (size <= mostPixels || channels !== 3) return { width: size, height: size, channels, data };
    return resizeImage({ width: size, height: size, channels, data }, mostPixels);
  });
}
