/** Checks before a run begins, so that nothing is made, written or computed in vain. */
import { checkConfig } from "../checkpoint/same_run.ts";
import type { TrainingState } from "../checkpoint/training_state.ts";
import type { RunConfig } from "../config/run.ts";
import type { ImageDataset } from "../data/dataset.ts";
import { UserError } from "../errors.ts";
import { splitDataset } from "./device_dataset.ts";
import { checkInitialWeights, type InitialWeights } from "./initial_weights.ts";
import { assertStepFits } from "./memory.ts";
import { checkPrecision } from "./precision.ts";

/** Images of a run's splits. */
export interface SplitCounts {
  train: number;
  /** 0 for none: the newest weights then count as the best. */
  validation: number;
  test: number;
}

/**
 * Checks that configuration, data and weights fit one another and the device.
 * @returns how many images are trained on, validated and tested
 * @throws {UserError} naming the first thing that does not fit
 */
export function checkStart(
  config: RunConfig,
  dataset: ImageDataset,
  initial?: InitialWeights,
): SplitCounts {
  checkPrecision(config.precision);
  const { train, validation, test } = splitDataset(dataset, config);
  checkClasses(config, dataset);
  if (initial) checkInitialWeights(initial, config);
  if (test.count === 0) {
    throw new UserError(`${dataset.name} has no test images, on which a run ends; give it some.`);
  }
  assertStepFits(config, Math.min(config.batchSize / config.accumulate, train.count));
  return { train: train.count, validation: validation.count, test: test.count };
}

/** Rest of a run that is taken up again: to train, to test alone, or nothing. */
export type WorkLeft = "train" | "test" | "nothing";

/**
 * Decides what is left to do, before anything of the run is written.
 * @param state of the run's newest step; undefined where it ended before its first save
 * @param saved the run's configuration so far
 * @param config what is asked for now
 * @returns `test` for a run whose epochs are all done, `nothing` where it has no fewer than asked for
 * @throws {UserError} if the state is of another run than is asked for
 */
export function workLeft(
  state: TrainingState | undefined,
  saved: RunConfig,
  config: RunConfig,
): WorkLeft {
  if (state === undefined) return "train";
  checkConfig(state, config);
  if (state.epoch < config.epochs) return "train";
  return config.epochs === saved.epochs && state.epoch === saved.epochs ? "test" : "nothing";
}

function checkClasses(config: RunConfig, dataset: ImageDataset): void {
  const needed = dataset.classNames.length;
  if (config.numClasses < needed) {
    throw new UserError(
      `numClasses ${config.numClasses} is less than the ${needed} classes of ${dataset.name}; ` +
        `set --num-classes ${needed} or leave it out.`,
    );
  }
  if (config.channels !== dataset.channels) {
    throw new UserError(
      `channels ${config.channels} is not the ${dataset.channels} of ${dataset.name}.`,
    );
  }
}
