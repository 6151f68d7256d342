import type { RunConfig } from "../config/run.ts";
import {
  channelStatistics,
  type ImageDataset,
  type ImageSplit,
  limitSplit,
  splitValidation,
} from "../data/dataset.ts";
import { assertDataset } from "../data/check_dataset.ts";
import { UserError } from "../errors.ts";
import type { Preprocessing } from "../data/preprocessing.ts";
import { DeviceSplit } from "./batches.ts";

/** A data set's images by what they are for. */
export interface DatasetSplits {
  train: ImageSplit;
  /** Empty when nothing is held out. */
  validation: ImageSplit;
  test: ImageSplit;
}

/**
 * Splits a data set as a configuration says.
 * @throws {UserError} when the data is not what it says it is, or nothing is left to train on
 */
export function splitDataset(
  dataset: ImageDataset,
  { limit, validationSplit }: Pick<RunConfig, "limit" | "validationSplit">,
): DatasetSplits {
  assertDataset(dataset);
  const all = limitSplit(dataset.train, limit);
  const { train, validation } = dataset.validation
    ? { train: all, validation: limitSplit(dataset.validation, limit) }
    : splitValidation(all, validationSplit);
  if (train.count === 0) {
    throw new UserError(
      `validationSplit ${validationSplit} of ${all.count} images leaves none to train on.`,
    );
  }
  return { train, validation, test: limitSplit(dataset.test, limit) };
}

/** Mean and deviation of each channel that pretrained weights want; of values 0 to 1. */
type GivenStatistics = Pick<RunConfig, "channelMean" | "channelDeviation">;

/** As pixel values 0..255; undefined where none are given. */
function givenStatistics(
  { channelMean = [], channelDeviation = [] }: Partial<GivenStatistics>,
): { mean: number[]; variance: number[] } | undefined {
  if (channelMean.length === 0) return undefined;
  return {
    mean: channelMean.map((mean) => mean * 255),
    variance: channelDeviation.map((deviation) => (deviation * 255) ** 2),
  };
}

/**
 * A data set on the device, split as a configuration says: what is learned from, what is held out
 * before any shuffle, and what is looked at only in the end. Owns tensors; call `dispose`, or
 * declare it with `using`.
 *
 * @example
 * ```ts
 * import { createShapes, DeviceDataset, preset, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * using data = new DeviceDataset(createShapes({ train: 60, test: 20 }), preset("tiny"));
 * console.log(data.train.count, data.validation!.count); // 54 6
 * ```
 */
export class DeviceDataset implements Disposable {
  /** Sizes and channel statistics of the train images, validation included. */
  readonly preprocessing: Preprocessing;
  /** Images to learn from. */
  readonly train: DeviceSplit;
  /** Null when nothing is held out. */
  readonly validation: DeviceSplit | null;
  private readonly testImages: ImageSplit;
  private test_: DeviceSplit | null = null;

  /**
   * Puts train and validation images on the device.
   * @throws {UserError} when the data is not what it says it is, or nothing is left to train on
   */
  constructor(
    readonly dataset: ImageDataset,
    config: Pick<RunConfig, "limit" | "validationSplit"> & Partial<GivenStatistics>,
  ) {
    const { train, validation, test } = splitDataset(dataset, config);
    const { height, width, channels, fit, resample, cropShare } = dataset;
    const statistics = givenStatistics(config) ?? channelStatistics([train, validation], channels);
    this.preprocessing = {
      ...{ height, width, channels, ...statistics },
      ...(fit === "crop" && { fit }),
      ...(resample && { resample }),
      ...(cropShare && { cropShare }),
    };
    this.train = new DeviceSplit(train, this.preprocessing);
    this.validation = validation.count > 0 ? new DeviceSplit(validation, this.preprocessing) : null;
    this.testImages = test;
  }

  /** The test images; uploaded when first asked for, since training has no use for them. */
  get test(): DeviceSplit {
    return this.test_ ??= new DeviceSplit(this.testImages, this.preprocessing);
  }

  /** Frees the images on the device. */
  dispose(): void {
    for (const split of [this.train, this.validation, this.test_]) split?.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
