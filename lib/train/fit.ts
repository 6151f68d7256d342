/**
 * The training loop.
 *
 * All of a run's numbers follow from (configuration, data, step): the order of an epoch, the
 * augmentation and the dropout masks of a step are computed from counters, so the loop can start
 * at any step and go on exactly as a run that was never interrupted.
 */
import { tf } from "../tfjs.ts";
import { currentGpu } from "../backend/device.ts";
import type { RunConfig } from "../config.ts";
import { UserError } from "../errors.ts";
import { type DeviceSplit, epochOrder } from "./batches.ts";
import { evaluate } from "./evaluate.ts";
import {
  addSums,
  DeviceMetrics,
  type Metrics,
  metricsOf,
  type MetricSums,
  noSums,
} from "./metrics.ts";
import { trainStep } from "./step.ts";

/** Where a run stands: enough, with weights and moments, to go on. */
export interface Progress {
  /** Training steps done since the start of the run. */
  step: number;
  /** Sums over the images of the current epoch; complete but not yet reset before validation. */
  sums: MetricSums;
  /** Best val_accuracy so far, 0..1; -1 before the first validation. */
  bestValAccuracy: number;
}

/** One line of the history: the means of one epoch. */
export interface EpochRecord {
  /** From 1. */
  epoch: number;
  /** Training steps done at its end. */
  step: number;
  loss: number;
  accuracy: number;
  top5: number;
  valLoss: number | null;
  valAccuracy: number | null;
  valTop5: number | null;
}

/** What a step's callback is told. */
export interface StepEvent extends Metrics {
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Step within the epoch, from 1. */
  stepInEpoch: number;
  stepsPerEpoch: number;
  /** Training steps done since the start of the run. */
  step: number;
  imagesSeen: number;
}

/** What the loop works on, and whom it tells. */
export interface FitOptions {
  config: RunConfig;
  model: tf.LayersModel;
  variables: tf.Variable[];
  optimizer: tf.Optimizer;
  train: DeviceSplit;
  /** Null when `validationSplit` is 0. */
  validation: DeviceSplit | null;
  /** Where to start; updated as the loop goes. */
  progress: Progress;
  /** Steps between two reads of the metrics: 1 where reading is free. */
  readEvery: number;
  /** Finishes the step and returns when aborted. */
  signal?: AbortSignal;
  /** Told after each read of the metrics. */
  onStep?: (event: StepEvent) => void;
  onValidation?: (done: number, count: number) => void;
  /** Awaited after each epoch; the moment to save. */
  onEpoch?: (record: EpochRecord, isBest: boolean) => Promise<void>;
}

/** The beginning of a run. */
export function startOfRun(): Progress {
  return { step: 0, sums: noSums(), bestValAccuracy: -1 };
}

/** Steps of an epoch; the last may be a smaller batch. */
export function stepsPerEpoch(config: RunConfig, trainCount: number): number {
  return Math.ceil(trainCount / config.batchSize);
}

/**
 * Trains until `config.epochs` are done or the signal aborts.
 *
 * @returns whether the run is complete
 * @throws {UserError} naming the step at which the loss became NaN or infinite
 */
export async function fit(options: FitOptions): Promise<boolean> {
  const { config, train, progress, signal } = options;
  const perEpoch = stepsPerEpoch(config, train.count);
  const metrics = new DeviceMetrics(options.readEvery);
  const gpu = currentGpu();
  // The error about a buffer above the device's limit then names the batch that fits.
  if (gpu) gpu.batchSize = config.batchSize;
  try {
    while (progress.step < config.epochs * perEpoch || progress.sums.images > 0) {
      if (signal?.aborted) return false;
      if (progress.sums.images === train.count) {
        if (!await finishEpoch(options, perEpoch)) return false;
      } else {
        await trainEpoch(options, perEpoch, metrics);
      }
    }
    return true;
  } finally {
    metrics.dispose();
  }
}

/** The error of a run whose numbers left the range of float32. */
export function diverged(what: string, step: number, { learningRate }: RunConfig): UserError {
  return new UserError(
    `The ${what} became NaN or infinite at step ${step}; the weights saved before it are ` +
      `untouched, try again with a smaller --learning-rate than ${learningRate}.`,
  );
}

/** Trains to the end of the current epoch, or to the end of the step in which the signal aborts. */
async function trainEpoch(
  options: FitOptions,
  perEpoch: number,
  metrics: DeviceMetrics,
): Promise<void> {
  const { config, train, progress, signal } = options;
  const epoch = Math.floor(progress.step / perEpoch);
  const order = epochOrder(train.count, config.seed, epoch);
  let unread = 0;
  for (let position = progress.step % perEpoch; position < perEpoch; position++) {
    const start = position * config.batchSize;
    runStep(options, order.subarray(start, start + config.batchSize), metrics);
    progress.step++;
    unread++;
    const isLast = position + 1 === perEpoch;
    if (unread >= options.readEvery || isLast || signal?.aborted) {
      for (const sums of await metrics.take()) {
        unread--;
        if (!Number.isFinite(sums.loss)) throw diverged("loss", progress.step - unread, config);
        progress.sums = addSums(progress.sums, sums);
      }
      options.onStep?.({
        ...metricsOf(progress.sums),
        epoch: epoch + 1,
        epochs: config.epochs,
        stepInEpoch: position + 1,
        stepsPerEpoch: perEpoch,
        step: progress.step,
        imagesSeen: progress.sums.images,
      });
    }
    // A turn of the event loop, or signals and timers would wait until the run ends.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (signal?.aborted && unread === 0) return;
  }
}

function runStep(options: FitOptions, records: Int32Array, metrics: DeviceMetrics): void {
  const { config, model, variables, optimizer, train, progress } = options;
  tf.tidy(() => {
    const batch = train.trainingBatch(records, config, progress.step);
    const stepKey = tf.tensor1d([config.seed, progress.step], "int32");
    metrics.add(trainStep(model, variables, optimizer, batch, stepKey));
  });
}

/** Validates, reports the epoch and starts the next; false when the signal aborted meanwhile. */
async function finishEpoch(options: FitOptions, perEpoch: number): Promise<boolean> {
  const { config, model, validation, progress, signal } = options;
  let val: Metrics | null = null;
  if (validation) {
    try {
      val = await evaluate(model, validation, {
        batchSize: config.batchSize,
        imageSize: config.imageSize,
        onBatch: options.onValidation,
        signal,
      });
    } catch (error) {
      if (signal?.aborted) return false;
      throw error;
    }
    // The last update of an epoch is the one that no training loss has seen.
    if (!Number.isFinite(val.loss)) throw diverged("validation loss", progress.step, config);
  }
  const train = metricsOf(progress.sums);
  const record: EpochRecord = {
    epoch: progress.step / perEpoch,
    step: progress.step,
    ...train,
    valLoss: val?.loss ?? null,
    valAccuracy: val?.accuracy ?? null,
    valTop5: val?.top5 ?? null,
  };
  // Without validation the newest weights are the best there are.
  const accuracy = val?.accuracy ?? train.accuracy;
  const isBest = validation === null || accuracy > progress.bestValAccuracy;
  if (isBest) progress.bestValAccuracy = accuracy;
  progress.sums = noSums();
  await options.onEpoch?.(record, isBest);
  return true;
}
