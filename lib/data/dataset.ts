/** Data sets in memory, and what is done to all of them alike. */
import { assertNumber, assertWhole } from "../checks.ts";
import { UserError } from "../errors.ts";
import type { PictureForm } from "./image/fit.ts";

/** Class indices; wider ones where there are more than 256 classes. */
export type Labels =
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>;

/** Records that are read when they are wanted. */
export interface RecordStream extends Disposable {
  /**
   * The images of such indices one after the other, each filled up to whole words of four bytes.
   * @throws {UserError} if they cannot be read.
   */
  read(indices: Int32Array): Promise<Int32Array<ArrayBuffer>>;
}

/** Images that are too many for memory. */
export interface StreamedImages {
  /** `[channels * 256]`, how many bytes of each channel have each value in the counted images. */
  histogram: Float64Array;
  /** How many images from the first on were counted: those within a run's limit. */
  counted: number;
  /** Begins to read; the caller disposes of it. */
  open(): RecordStream;
}

/** Images and labels in the order of their records. */
export interface ImageSplit {
  /** `[count, height, width, channels]` bytes, channels last; none where they are `streamed`. */
  images: Uint8Array<ArrayBuffer>;
  /** Where the images are, if not in `images`. */
  streamed?: StreamedImages;
  /** `[count]` class indices. */
  labels: Labels;
  /** Number of images. */
  count: number;
}

/** Fewer and wider classes, each of which some of the classes belong to. */
export interface Superclasses {
  /** Their names. */
  names: string[];
  /** The superclass of each class, by label. */
  ofClass: number[];
}

/** A data set of small images, in memory. */
export interface ImageDataset extends Partial<PictureForm> {
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
  /** What the classes belong to, where the data set says so. */
  superclasses?: Superclasses;
  /** Images to learn from. */
  train: ImageSplit;
  /** Images that are held out; where it is left out, the last part of `train`. */
  validation?: ImageSplit;
  /** Images that are looked at only in the end. */
  test: ImageSplit;
  /** SHA-256 of the record bytes, in hexadecimal. */
  identity: string;
}

/** Labels of so many classes, in the narrowest array that holds them. */
export function labelsFor(classes: number, labels: ArrayLike<number>): Labels {
  if (classes <= 1 << 8) return Uint8Array.from(labels);
  return classes <= 1 << 16 ? Uint16Array.from(labels) : Int32Array.from(labels);
}

/** The records `start` (inclusive) to `end` (exclusive); the bytes are shared, not copied. */
export function sliceSplit(split: ImageSplit, start: number, end: number): ImageSplit {
  if (split.streamed) return sliceStreamed(split, split.streamed, start, end);
  const stride = split.count === 0 ? 0 : split.images.length / split.count;
  return {
    images: split.images.subarray(start * stride, end * stride),
    labels: split.labels.subarray(start, end),
    count: end - start,
  };
}

function sliceStreamed(
  { images, labels }: ImageSplit,
  { open, histogram, counted }: StreamedImages,
  start: number,
  end: number,
): ImageSplit {
  const streamed: StreamedImages = {
    histogram,
    // Of no other part is the histogram known.
    counted: start === 0 && end === counted ? counted : -1,
    open: () => {
      const stream = open();
      return {
        read: (indices) => stream.read(indices.map((index) => index + start)),
        [Symbol.dispose]: () => stream[Symbol.dispose](),
      };
    },
  };
  return { images, streamed, labels: labels.subarray(start, end), count: end - start };
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
 * @param bringsValidation whether the data set has held out its own, which are not among `count`
 */
export function trainingCount(
  count: number,
  { limit, validationSplit }: { limit: number; validationSplit: number },
  bringsValidation = false,
): number {
  const within = limit === 0 ? count : Math.min(limit, count);
  return bringsValidation ? within : keptCount(within, validationSplit);
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
  split: ImageSplit | readonly ImageSplit[],
  channels: number,
): { mean: number[]; variance: number[] } {
  const splits = "images" in split ? [split] : split;
  // Bytes have 256 values, so counting them is exact and leaves few additions to round.
  const counts = new Float64Array(channels * 256);
  for (const { images, streamed, count } of splits) {
    if (streamed && streamed.counted !== count) {
      const counted = Math.max(0, streamed.counted);
      throw new UserError(
        `${counted} of ${count} images were counted, on which statistics rest; open the pictures ` +
          `with the limit of the run.`,
      );
    }
    streamed?.histogram.forEach((count, i) => counts[i]! += count);
    for (let channel = 0; channel < channels; channel++) {
      const base = channel * 256;
      for (let i = channel; i < images.length; i += channels) counts[base + images[i]!]!++;
    }
  }
  const total = counts.reduce((sum, count) => sum + count, 0) / channels;
  const mean: number[] = [];
  const variance: number[] = [];
  for (let channel = 0; channel < channels; channel++) {
    const histogram = counts.subarray(channel * 256, (channel + 1) * 256);
    const average = histogram.reduce((sum, n, value) => sum + n * value, 0) / total;
    mean.push(average);
    variance.push(
      histogram.reduce((sum, n, value) => sum + n * (value - average) ** 2, 0) / total,
    );
  }
  return { mean, variance };
}
