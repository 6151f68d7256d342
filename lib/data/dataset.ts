/** Data sets in memory, and what is done to all of them alike. */
import { assertNumber, assertWhole } from "../checks.ts";

/** Class indices; wider ones where there are more than 256 classes. */
export type Labels =
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>;

/** Images and labels in the order of their records. */
export interface ImageSplit {
  /** `[count, height, width, channels]` bytes, channels last. */
  images: Uint8Array<ArrayBuffer>;
  /** `[count]` class indices. */
  labels: Labels;
  /** Number of images. */
  count: number;
}

/** A data set of small images, in memory. */
export interface ImageDataset {
  /** For a person, such as `cifar100 (fine)`. */
  name: string;
  /** Of one image, in pixels. */
  height: number;
  /** Of one image, in pixels. */
  width: number;
  /** Bytes of one pixel. */
  channels: number;
  /** The name of each class, by label. */
  classNames: string[];
  /** Images to learn from. */
  train: ImageSplit;
  /** Images that are looked at only in the end. */
  test: ImageSplit;
  /** SHA-256 of the record bytes, in hexadecimal. */
  identity: string;
}

/** The records `start` (inclusive) to `end` (exclusive); the bytes are shared, not copied. */
export function sliceSplit(split: ImageSplit, start: number, end: number): ImageSplit {
  const stride = split.count === 0 ? 0 : split.images.length / split.count;
  return {
    images: split.images.subarray(start * stride, end * stride),
    labels: split.labels.subarray(start, end),
    count: end - start,
  };
}

/**
 * The first `limit` records; all of them where `limit` is 0 or exceeds their number.
 * @throws {UserError} when the limit is no whole number from 0
 *
 * @example
 * ```ts
 * import { createShapes, limitSplit } from "../../mod.ts";
 *
 * console.log(limitSplit(createShapes({ train: 60 }).train, 12).count); // 12
 * ```
 */
export function limitSplit(split: ImageSplit, limit: number): ImageSplit {
  assertWhole("limit", limit, 0);
  return limit === 0 || limit >= split.count ? split : sliceSplit(split, 0, limit);
}

/**
 * Holds out the last `share` (0 up to 1) of the records, before any shuffle, as Keras does:
 * 50,000 records and 0.1 give 45,000 and 5,000.
 * @throws {UserError} when the share is no number from 0 to below 1
 *
 * @example
 * ```ts
 * import { createShapes, splitValidation } from "../../mod.ts";
 *
 * const { train, validation } = splitValidation(createShapes({ train: 60 }).train, 0.1);
 * console.log(train.count, validation.count); // 54 6
 * ```
 */
export function splitValidation(
  split: ImageSplit,
  share: number,
): { train: ImageSplit; validation: ImageSplit } {
  assertNumber("validationSplit", share, { least: 0, below: 1 });
  const kept = keptCount(split.count, share);
  return { train: sliceSplit(split, 0, kept), validation: sliceSplit(split, kept, split.count) };
}

function keptCount(count: number, share: number): number {
  // The small term keeps a product such as 0.29 * 100 = 28.999... from losing a record.
  return count - Math.floor(count * share + 1e-6);
}

/**
 * Number of `count` train records that a run trains on: those within its limit and not held out.
 */
export function trainingCount(
  count: number,
  { limit, validationSplit }: { limit: number; validationSplit: number },
): number {
  return keptCount(limit === 0 ? count : Math.min(limit, count), validationSplit);
}

/**
 * Mean and population variance of each channel over all pixels, values 0..255, in float64: what a
 * Keras `Normalization` layer adapts to.
 *
 * @example
 * ```ts
 * import { channelStatistics } from "../../mod.ts";
 *
 * const split = { images: new Uint8Array([0, 10]), labels: new Uint8Array(2), count: 2 };
 * console.log(channelStatistics(split, 1)); // { mean: [ 5 ], variance: [ 25 ] }
 * ```
 */
export function channelStatistics(
  split: ImageSplit,
  channels: number,
): { mean: number[]; variance: number[] } {
  const { images } = split;
  // Bytes have 256 values, so counting them is exact and leaves few additions to round.
  const counts = new Uint32Array(channels * 256);
  for (let channel = 0; channel < channels; channel++) {
    const base = channel * 256;
    for (let i = channel; i < images.length; i += channels) counts[base + images[i]!]!++;
  }
  const mean: number[] = [];
  const variance: number[] = [];
  for (let channel = 0; channel < channels; channel++) {
    const histogram = counts.subarray(channel * 256, (channel + 1) * 256);
    const total = images.length / channels;
    const average = histogram.reduce((sum, n, value) => sum + n * value, 0) / total;
    mean.push(average);
    variance.push(
      histogram.reduce((sum, n, value) => sum + n * (value - average) ** 2, 0) / total,
    );
  }
  return { mean, variance };
}
