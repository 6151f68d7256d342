/**
 * The steps of training and evaluation, plain, and the training step as the loop takes it: captured
 * where the backend can (see capture.ts of `lib/backend/`), plain elsewhere. Both give the same bytes.
 */
import { tf } from "../tfjs.ts";
import { type Capture, capture, CaptureError } from "../capture/capture.ts";
import { currentGpu } from "../backend/device.ts";
import type { RunConfig } from "../config/run.ts";
import { softmaxCrossEntropy } from "../kernels/softmax_cross_entropy.ts";
import { AdamW } from "../optim/adamw.ts";
import type { Batch, DeviceSplit } from "./batches.ts";
import type { DeviceMetrics } from "./metrics.ts";

/**
 * One training step: forward, backward, update in place.
 *
 * @param batch model input and labels; stays the caller's
 * @param stepKey int32 `[2]`, (seed, step): keys the dropout masks
 * @returns float32 `[batch, 3]`, loss, top-1 hit and top-5 hit of each image before the update
 */
export function trainStep(
  model: tf.LayersModel,
  variables: tf.Variable[],
  optimizer: tf.Optimizer,
  batch: Batch,
  stepKey: tf.Tensor1D,
): tf.Tensor2D {
  const update = (gradients: tf.NamedTensorMap) => optimizer.applyGradients(gradients);
  return stepWith(update, model, variables, batch, stepKey);
}

function stepWith(
  update: (gradients: tf.NamedTensorMap) => void,
  model: tf.LayersModel,
  variables: tf.Variable[],
  batch: Batch,
  stepKey: tf.Tensor1D,
): tf.Tensor2D {
  return tf.tidy(() => {
    let stats: tf.Tensor2D | undefined;
    const { grads } = tf.variableGrads(() => {
      const logits = model.apply(batch.images, { training: true, stepKey }) as tf.Tensor2D;
      const result = softmaxCrossEntropy(logits, batch.labels);
      stats = tf.keep(result.stats);
      return result.loss;
    }, variables);
    update(grads);
    // Kept through the inner tidy of variableGrads; a clone is what this tidy hands on.
    const result = stats!.clone();
    stats!.dispose();
    return result;
  });
}

/** The statistics of a batch in evaluation: float32 `[batch, 3]` as in {@linkcode trainStep}. */
export function evaluationStep(model: tf.LayersModel, batch: Batch): tf.Tensor2D {
  return tf.tidy(() => {
    const logits = model.apply(batch.images, { training: false }) as tf.Tensor2D;
    return softmaxCrossEntropy(logits, batch.labels).stats;
  });
}

/** Steps that the device may have before it; more would only delay Ctrl-C. */
const MOST_IN_FLIGHT = 2;

/** What a training step works on; all of it stays the caller's. */
export interface TrainingStepParts {
  config: RunConfig;
  model: tf.LayersModel;
  variables: tf.Variable[];
  optimizer: tf.Optimizer;
  train: DeviceSplit;
  /** Where each step adds its statistics. */
  metrics: DeviceMetrics;
}

/** The training step of a run. Owns records on the device; call `dispose`. */
export class TrainingStep {
  /** By the number of images; all but the first borrow its memory. */
  private readonly records = new Map<number, Capture<void>>();
  private whyPlain_: string | null;
  /** One for each step that the device may not have done yet. */
  private readonly inFlight: Promise<unknown>[] = [];

  constructor(private readonly parts: TrainingStepParts) {
    if (tf.getBackend() !== "webgpu") this.whyPlain_ = `${tf.getBackend()} cannot capture`;
    else if (!(parts.optimizer instanceof AdamW)) {
      // Its learning rate would be a constant of the record.
      this.whyPlain_ = "only AdamW takes its step size from the device";
    } else this.whyPlain_ = null;
  }

  /** Why steps are not captured; null when they are. */
  get whyPlain(): string | null {
    return this.whyPlain_;
  }

  /** The record of a batch of `images`, if there is one. */
  recordOf(images: number): Capture<void> | undefined {
    return this.records.get(images);
  }

  /**
   * Trains on one batch and adds its statistics to the metrics. The device may still be at work when
   * it returns, but has at most two captured steps before it.
   *
   * @param records which records of the split, int32 `[batch]`
   * @param step number of the step, from 0: keys augmentation and dropout
   */
  async run(records: Int32Array, step: number): Promise<void> {
    const record = await this.currentRecord(records);
    const { config, model, variables, optimizer, train, metrics } = this.parts;
    if (!record) {
      tf.tidy(() => {
        const batch = train.trainingBatch(records, config, step);
        const stepKey = tf.tensor1d([config.seed, step], "int32");
        metrics.add(trainStep(model, variables, optimizer, batch, stepKey));
      });
      return;
    }
    if (this.inFlight.length === MOST_IN_FLIGHT) await this.inFlight.shift();
    for (const [name, values] of Object.entries(train.trainingValues(records, config, step))) {
      record.write(name, values);
    }
    record.write("stepKey", Int32Array.of(config.seed, step));
    record.write("row", Int32Array.of(metrics.nextRow()));
    record.write("scalars", (optimizer as AdamW).nextScalars());
    record.replay();
    // The submission to a software adapter waits for the one before, and asking would wait for both.
    const gpu = currentGpu();
    if (!gpu || gpu.isSoftware) return;
    // A lost device is noticed by whoever reads the metrics.
    this.inFlight.push(gpu.device.queue.onSubmittedWorkDone().catch(() => {}));
  }

  /** The record to replay, made or made anew where needed; null when the step must be plain. */
  private async currentRecord(records: Int32Array): Promise<Capture<void> | null> {
    if (this.whyPlain !== null) return null;
    // Loaded weights, for example, are other data than those that were captured.
    if ([...this.records.values()].some((record) => record.staleness() !== null)) this.dispose();
    const known = this.records.get(records.length);
    if (known) return known;
    try {
      const made = await this.capture(records.length);
      this.records.set(records.length, made);
      return made;
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      this.whyPlain_ = error.message;
      this.dispose();
      return null;
    }
  }

  private async capture(images: number): Promise<Capture<void>> {
    const { config: { imageSize }, model, variables, train, metrics } = this.parts;
    const optimizer = this.parts.optimizer as AdamW;
    optimizer.prepare(variables);
    const inputs = tf.tidy(() => ({
      indices: tf.zeros<tf.Rank.R1>([images], "int32"),
      labels: tf.zeros<tf.Rank.R1>([images], "int32"),
      transforms: tf.zeros<tf.Rank.R2>([images, 6]),
      stepKey: tf.zeros<tf.Rank.R1>([2], "int32"),
      row: tf.zeros<tf.Rank.R1>([1], "int32"),
      scalars: tf.zeros<tf.Rank.R1>([2]),
    }));
    try {
      return await capture({
        inputs,
        fn: ({ indices, labels, transforms, stepKey, row, scalars }) => {
          const batch = { images: train.images(indices, transforms, imageSize), labels };
          const update = (gradients: tf.NamedTensorMap) => optimizer.applyWith(gradients, scalars);
          metrics.addAt(row, stepWith(update, model, variables, batch, stepKey));
        },
        // The optimizer is prepared, and a step in earnest would be one too many.
        warmup: false,
        memoryOf: [...this.records.values()][0],
      });
    } finally {
      tf.dispose(inputs);
    }
  }

  dispose(): void {
    for (const record of this.records.values()) record.dispose();
    this.records.clear();
  }
}
