/**
 * One step of training and one of evaluation.
 *
 * The difference between one training step and the next is stated once, in {@linkcode stepValues}:
 * indices, labels and transforms of the batch, the key of the dropout masks, the row of the
 * metrics, the optimizer's scalars. {@linkcode TrainingStep} computes with tensors of those values
 * alone, so the same function runs plainly or is captured and replayed (see repeated.ts of
 * `lib/capture/`), and both give the same bytes.
 */
import { tf } from "../tfjs.ts";
import type { Capture } from "../capture/capture.ts";
import { type InputValues, Repeated } from "../capture/repeated.ts";
import type { RunConfig } from "../config/run.ts";
import { softmaxCrossEntropy } from "../kernels/softmax_cross_entropy.ts";
import type { AdamW } from "../optim/adamw.ts";
import { scheduleFactor } from "../optim/schedules.ts";
import { type Batch, type DeviceSplit, stepsPerEpoch } from "./batches.ts";
import type { DeviceMetrics } from "./metrics.ts";

/** Statistics of a batch before the update, and what the update takes. */
export interface StepGradients {
  /** float32 `[batch, 3]`: loss, top-1 hit and top-5 hit of each image. */
  stats: tf.Tensor2D;
  /** By the variables' names. */
  gradients: tf.NamedTensorMap;
}

/**
 * Forward and backward pass of a training step. An accumulated step would add up the gradients of
 * its micro-batches here.
 *
 * @param batch model input and labels; stays the caller's
 * @param stepKey int32 `[2]`, (seed, step): keys the dropout masks
 * @param smoothing share of each label that is spread over all classes
 */
export function gradientsOf(
  model: tf.LayersModel,
  variables: tf.Variable[],
  batch: Batch,
  stepKey: tf.Tensor1D,
  smoothing = 0,
): StepGradients {
  return tf.tidy(() => {
    let stats: tf.Tensor2D | undefined;
    const { grads } = tf.variableGrads(() => {
      const logits = model.apply(batch.images, { training: true, stepKey }) as tf.Tensor2D;
      const { first, second, share } = batch.labels;
      const result = softmaxCrossEntropy(logits, first, { smoothing, second, share });
      // Kept through the inner tidy of variableGrads; a clone is what the outer one hands on.
      stats = tf.keep(result.stats);
      return result.loss;
    }, variables);
    const handedOn = stats!.clone();
    stats!.dispose();
    return { stats: handedOn, gradients: grads } as StepGradients & tf.TensorContainer;
  });
}

/** Statistics of a batch in evaluation, of the plain labels: float32 `[batch, 3]` as in {@linkcode StepGradients}. */
export function evaluationStep(model: tf.LayersModel, batch: Batch): tf.Tensor2D {
  return tf.tidy(() => {
    const logits = model.apply(batch.images, { training: false }) as tf.Tensor2D;
    return softmaxCrossEntropy(logits, batch.labels.first).stats;
  });
}

/** Parts that a training step works on; all of it stays the caller's. */
export interface StepParts {
  config: RunConfig;
  model: tf.LayersModel;
  variables: tf.Variable[];
  optimizer: AdamW;
  train: DeviceSplit;
}

/** The values of a step, from which its tensors are made; a function of the parts and the step. */
export function stepValues(
  { config, optimizer, train }: StepParts,
  indices: Int32Array,
  step: number,
): Record<string, InputValues> {
  const factor = scheduleFactor(config, step, stepsPerEpoch(config.batchSize, train.count));
  return {
    ...train.trainingValues(indices, config, step),
    stepKey: { shape: [2], values: Int32Array.of(config.seed, step) },
    scalars: { shape: [2], values: optimizer.scalars(factor) },
  };
}

/** {@linkcode gradientsOf} for tensors of {@linkcode stepValues}. */
export function stepGradients(
  { config, model, variables, train }: StepParts,
  inputs: Record<string, tf.Tensor>,
): StepGradients {
  const batch = train.batch(inputs, config.imageSize);
  const { labelSmoothing } = config;
  return gradientsOf(model, variables, batch, inputs.stepKey as tf.Tensor1D, labelSmoothing);
}

/**
 * Training steps of a run, each with its update and its statistics. Owns a capture on the device.
 */
export class TrainingStep {
  private readonly repeated: Repeated<Record<string, tf.Tensor>, void>;

  constructor(private readonly parts: StepParts, private readonly metrics: DeviceMetrics) {
    this.repeated = new Repeated((inputs) => this.compute(inputs), {
      captureAt: 1,
      // What the first update would make for good: the moments.
      prepare: () => parts.optimizer.prepare(parts.variables),
    });
  }

  /** Reason why steps are not captured; null when they are. */
  get whyPlain(): string | null {
    return this.repeated.whyPlain;
  }

  /** The captured step of a batch of so many images, if there is one. */
  captureOf(images: number): Capture<void> | undefined {
    return this.repeated.captureOf({ indices: [images] });
  }

  /**
   * Trains on one batch and adds its statistics to the metrics. The device may still be at work
   * when it returns.
   *
   * @param indices which images of the split, `[batch]`
   * @param step number of the step, from 0: keys augmentation and dropout
   */
  async run(indices: Int32Array, step: number): Promise<void> {
    const { parts, metrics } = this;
    await parts.train.ready(indices);
    await this.repeated.run({
      ...stepValues(parts, indices, step),
      row: { shape: [1], values: Int32Array.of(metrics.nextRow) },
    });
    parts.optimizer.advance();
    metrics.advance();
  }

  private compute(inputs: Record<string, tf.Tensor>): void {
    const { stats, gradients } = stepGradients(this.parts, inputs);
    this.parts.optimizer.update(gradients, inputs.scalars as tf.Tensor1D);
    this.metrics.add(inputs.row as tf.Tensor1D, stats);
  }

  dispose(): void {
    this.repeated.dispose();
  }
}
