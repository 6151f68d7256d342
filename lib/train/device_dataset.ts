import type { RunConfig } from "../config/run.ts";
import {
  channelStatistics,
  type ImageDataset,
  limitSplit,
  splitValidation,
} from "../data/dataset.ts";
import { assertDataset } from "../data/check_dataset.ts";
import { UserError } from "../errors.ts";
import type { Preprocessing } from "../data/preprocessing.ts";
import { DeviceSplit } from "./batches.ts";

/**
 * A data set on the device, split as a configuration says: what is learned from, what is held out
 * before any shuffle, and what is looked at only in the end. Owns tensors; call `dispose`, or declare
 * it with `using`.
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
  readonly preprocessing: Preprocessing;
  readonly train: DeviceSplit;
  /** Null when nothing is held out. */
  readonly validation: DeviceSplit | null;
  private test_: DeviceSplit | null = null;

  /** @throws {UserError} when the data is not what it says it is, or nothing is left to train on */
  constructor(
    readonly dataset: ImageDataset,
    private readonly config: Pick<RunConfig, "limit" | "validationSplit">,
  ) {
    assertDataset(dataset);
    const { height, width, channels } = dataset;
    const all = limitSplit(dataset.train, config.limit);
    const { train, validation } = dataset.validation
      ? { train: all, validation: limitSplit(dataset.validation, config.limit) }
      : splitValidation(all, config.validationSplit);
    if (train.count === 0) {
      throw new UserError(
        `validationSplit ${config.validationSplit} of ${all.count} images leaves none to train on.`,
      );
    }
    const statistics = channelStatistics([train, validation], channels);
    this.preprocessing = {
      ...{ height, width, channels, ...statistics },
      ...(dataset.fit === "crop" && { fit: dataset.fit }),
    };
    this.train = new DeviceSplit(train, this.preprocessing);
    this.validation = validation.count > 0 ? new DeviceSplit(validation, this.preprocessing) : null;
  }

  /** The test images; uploaded when first asked for, since training has no use for them. */
  get test(): DeviceSplit {
    const { dataset, config } = this;
    return this.test_ ??= new DeviceSplit(
      limitSplit(dataset.test, config.limit),
      this.preprocessing,
    );
  }

  dispose(): void {
    for (const split of [this.train, this.validation, this.test_]) split?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
