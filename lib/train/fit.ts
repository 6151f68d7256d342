/**
 * The training loop.
 *
 * All of a run's numbers follow from (configuration, data, step): the order of an epoch, the
 * augmentation and the dropout masks of a step are computed from counters, so the loop can start
 * at any step and go on exactly as a run that was never interrupted.
 */
import type { tf } from "../tfjs.ts";
import { currentGpu } from "../backend/device.ts";
import type { RunConfig } from "../config/run.ts";
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
  skippedSums,
} from "./metrics.ts";
import { TrainingStep } from "./step.ts";

/** Where a run stands: enough, with weights and moments, to go on. */
export interface Progress {
  /** Training steps done since the start of the run. */
  step: number;
  /** Sums over the images of the current epoch; complete but not yet reset before validation. */
  sums: MetricSums;
  /** Best val_accuracy so far, 0..1; -1 before the first validation. */
  bestValAccuracy: number;
  /** Updates left out because a gradient was NaN or infinite. */
  skippedSteps: number;
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
  /** Updates left out since the start of the run; absent for none. */
  skippedSteps?: number;
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
  /** Updates left out since the start of the run. */
  skippedSteps: number;
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
  /**
   * How the updates that the optimizer has left out since the loop began are counted; a loss that is
   * NaN or infinite then ends nothing, and its batch is in no mean. Without it such a loss is an error.
   */
  readSkipped?: () => Promise<number>;
  /** Asked after each step whether the run should be saved now. */
  isSaveDue?: (step: number) => boolean;
  /** Awaited between two steps when a save is due. */
  onSave?: () => Promise<void>;
  /** Awaited after each step, so that what goes on beside the training can. */
  rest?: () => Promise<void>;
  /** Told after each read of the metrics. */
  onStep?: (event: StepEvent) => void;
  onValidation?: (done: number, count: number) => void;
  /** Awaited after each epoch; the moment to save. */
  onEpoch?: (record: EpochRecord, isBest: boolean) => Promise<void>;
}

/** The beginning of a run. */
export function startOfRun(): Progress {
  return { step: 0, sums: noSums(), bestValAccuracy: -1, skippedSteps: 0 };
}

/** Steps of an epoch; the last may be a smaller batch. */
export function stepsPerEpoch(config: RunConfig, trainCount: number): number {
  return Math.ceil(trainCount / config.batchSize);
}

/** The error of a run whose numbers left the range of float32. */
export class Diverged extends UserError {
  /**
   * @param what which number it was noticed in
   * @param step the step after which, or in which, it was; from 1
   * @param first the first such tensor, with its article, if it is known
   */
  constructor(
    readonly what: string,
    readonly step: number,
    readonly config: RunConfig,
    first?: string,
  ) {
    super(
      `The ${what} became NaN or infinite at step ${step}${first ? ` (first: ${first})` : ""}; ` +
        `the weights saved before it are untouched, try again with a smaller --learning-rate than ` +
        `${config.learningRate}, or with --on-nan skip.`,
    );
  }
}

/**
 * Trains until `config.epochs` are done or the signal aborts. Whatever ends it, `progress` then
 * holds what the steps done have found, unless the device can no longer be read.
 *
 * @returns whether the run is complete
 * @throws {Diverged} naming the step at which the loss became NaN or infinite
 */
export async function fit(options: FitOptions): Promise<boolean> {
  const { config, train, progress, signal } = options;
  const perEpoch = stepsPerEpoch(config, train.count);
  const metrics = new DeviceMetrics(options.readEvery);
  const gpu = currentGpu();
  // The error about a buffer above the device's limit then names the batch that fits.
  if (gpu) gpu.batchSize = config.batchSize;
  const trainingStep = new TrainingStep({ ...options, metrics });
  try {
    const reader = new MetricsReader(options, metrics);
    while (progress.step < config.epochs * perEpoch || progress.sums.images > 0) {
      if (signal?.aborted) return false;
      if (progress.sums.images === train.count) {
        if (!await finishEpoch(options, perEpoch)) return false;
      } else {
        await trainEpoch(options, perEpoch, trainingStep, metrics, reader);
      }
    }
    return true;
  } finally {
    trainingStep.dispose();
    metrics.dispose();
  }
}

/** Moves what the device has summed into the progress of the run. */
class MetricsReader {
  private readonly skippedBefore: number;

  constructor(private readonly options: FitOptions, private readonly metrics: DeviceMetrics) {
    this.skippedBefore = options.progress.skippedSteps;
  }

  async read(): Promise<void> {
    const { config, progress, readSkipped } = this.options;
    let { unread } = this.metrics;
    for (const sums of await this.metrics.take()) {
      unread--;
      const isFinite = Number.isFinite(sums.loss);
      if (!isFinite && !readSkipped) throw new Diverged("loss", progress.step - unread, config);
      progress.sums = addSums(progress.sums, isFinite ? sums : skippedSums(sums.images));
    }
    if (readSkipped) progress.skippedSteps = this.skippedBefore + await readSkipped();
  }
}

/** Trains to the end of the current epoch, or to the end of the step in which the signal aborts. */
async function trainEpoch(
  options: FitOptions,
  perEpoch: number,
  trainingStep: TrainingStep,
  metrics: DeviceMetrics,
  reader: MetricsReader,
): Promise<void> {
  const { config, train, progress, signal } = options;
  const epoch = Math.floor(progress.step / perEpoch);
  const order = epochOrder(train.count, config.seed, epoch);
  try {
    for (let position = progress.step % perEpoch; position < perEpoch; position++) {
      const start = position * config.batchSize;
      const records = order.subarray(start, start + config.batchSize);
      await trainingStep.run(records, progress.step);
      progress.step++;
      const isLast = position + 1 === perEpoch;
      const isSaveDue = options.isSaveDue?.(progress.step) ?? false;
      if (metrics.unread >= options.readEvery || isLast || isSaveDue || signal?.aborted) {
        await reader.read();
        options.onStep?.({
          ...metricsOf(progress.sums),
          epoch: epoch + 1,
          epochs: config.epochs,
          stepInEpoch: position + 1,
          stepsPerEpoch: perEpoch,
          step: progress.step,
          imagesSeen: progress.sums.images,
          skippedSteps: progress.skippedSteps,
        });
        if (isSaveDue) await options.onSave?.();
      }
      // A turn of the event loop, or signals and timers would wait until the run ends.
      await new Promise((resolve) => setTimeout(resolve, 0));
      await options.rest?.();
      if (signal?.aborted && metrics.unread === 0) return;
    }
  } catch (error) {
    // What the steps done have found belongs to them, and their state may yet be saved.
    if (!(error instanceof Diverged)) await reader.read().catch(() => {});
    throw error;
  }
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
    if (!Number.isFinite(val.loss)) throw new Diverged("validation loss", progress.step, config);
  }
  if (progress.sums.skipped === progress.sums.images) {
    throw new Diverged("loss of every step of an epoch", progress.step, config);
  }
  const train = metricsOf(progress.sums);
  const record: EpochRecord = {
    epoch: progress.step / perEpoch,
    step: progress.step,
    ...train,
    valLoss: val?.loss ?? null,
    valAccuracy: val?.accuracy ?? null,
    valTop5: val?.top5 ?? null,
    ...(progress.skippedSteps > 0 && { skippedSteps: progress.skippedSteps }),
  };
  // Without validation the newest weights are the best there are.
  const accuracy = val?.accuracy ?? train.accuracy;
  const isBest = validation === null || accuracy > progress.bestValAccuracy;
  if (isBest) progress.bestValAccuracy = accuracy;
  progress.sums = noSums();
  await options.onEpoch?.(record, isBest);
  return true;
}
