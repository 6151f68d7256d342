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
import { isShared } from "../backend/tfjs_internals.ts";
import { inPrecision } from "../backend/precision.ts";
import type { Capture, CaptureStats } from "../capture/replay.ts";
import { type InputValues, Repeated } from "../capture/repeated.ts";
import type { RunConfig } from "../config/run.ts";
import { blend } from "../kernels/optimizer/blend.ts";
import { askingFor } from "../kernels/lazy_gradient.ts";
import { softmaxCrossEntropy } from "../kernels/softmax_cross_entropy.ts";
import { applied, type SplitModel, splitModel, type StepModel } from "../models/trained.ts";
import type { AdamW } from "../optim/adamw.ts";
import { scheduleFactor } from "../optim/schedules.ts";
import type { WeightAverage } from "../optim/weight_average.ts";
import { type Batch, type BatchSource, stepsPerEpoch } from "./batches.ts";
import type { DeviceMetrics } from "./metrics.ts";

/** Statistics of a batch before the update, and what the update takes. */
export interface StepGradients {
  /** float32 `[batch, 3]`: loss, top-1 hit and top-5 hit of each image. */
  stats: tf.Tensor2D;
  /** By the variables' names. */
  gradients: tf.NamedTensorMap;
}

/** What the loss of {@linkcode gradientsOf} may depend on besides the batch. */
export interface GradientOptions {
  /** Share of each label that is spread over all classes; 0 by default. */
  smoothing?: number;
  /**
   * The model in its frozen part and the rest, where it has one: the frozen part runs before the tape
   * does, and as in evaluation.
   */
  split?: SplitModel;
  /** Of the mean loss, whose gradients it multiplies; 1 by default. */
  weight?: tf.Scalar;
}

/**
 * Forward and backward pass of a training step, or of one part of an accumulated one.
 *
 * @param batch model input and labels; stays the caller's
 * @param stepKey int32 `[2]`, (seed, step): keys the dropout masks; of a part of a batch `[3]`
 */
export function gradientsOf(
  model: StepModel,
  variables: tf.Variable[],
  batch: Batch,
  stepKey: tf.Tensor1D,
  { smoothing = 0, split, weight }: GradientOptions = {},
): StepGradients {
  return tf.tidy(() => {
    let stats: tf.Tensor2D | undefined;
    const features = split && applied(split.frozen, batch.images, { training: false });
    const forward = () => {
      const options = { training: true, stepKey };
      const logits = (split
        ? applied(split.trained, features!, options)
        : model.apply(batch.images, options)) as tf.Tensor2D;
      const { first, second, share } = batch.labels;
      const result = softmaxCrossEntropy(logits, first, { smoothing, second, share });
      // Kept through the inner tidy of variableGrads; a clone is what the outer one hands on.
      stats = tf.keep(result.stats);
      return weight ? result.loss.mul<tf.Scalar>(weight) : result.loss;
    };
    const { grads } = askingFor(variables, () =>
      tf.variableGrads(forward, variables));
    const handedOn = stats!.clone();
    stats!.dispose();
    return { stats: handedOn, gradients: grads } as StepGradients & tf.TensorContainer;
  });
}

/** Statistics of a batch in evaluation, of the plain labels: float32 `[batch, 3]` as in {@linkcode StepGradients}. */
export function evaluationStep(model: StepModel, batch: Batch): tf.Tensor2D {
  return tf.tidy(() => evaluated(model, batch).stats);
}

/** {@linkcode evaluationStep}, and to its right the logits: float32 `[batch, 3 + classes]`. */
export function evaluationWithLogits(model: StepModel, batch: Batch): tf.Tensor2D {
  return tf.tidy(() => {
    const { stats, logits } = evaluated(model, batch);
    return tf.concat2d([stats, logits], 1);
  });
}

/** The forward pass of an evaluation; both tensors are the caller's. */
function evaluated(model: StepModel, { images, labels }: Batch) {
  const logits = model.apply(images, { training: false }) as tf.Tensor2D;
  return { logits, stats: softmaxCrossEntropy(logits, labels.first).stats };
}

/** Parts that a training step works on; all of it stays the caller's. */
export interface StepParts {
  config: RunConfig;
  model: StepModel;
  variables: tf.Variable[];
  optimizer: AdamW;
  /** Of the variables, updated with them; none where there is none. */
  average?: WeightAverage;
  train: BatchSource;
}

/** The values of a step, from which its tensors are made; a function of the parts and the step. */
export function stepValues(
  parts: StepParts,
  indices: Int32Array,
  step: number,
): Record<string, InputValues> {
  const { config, train } = parts;
  // A tensor for each, since tfjs slices integers as floats, which hold 24 bits.
  const keys = Array.from({ length: config.accumulate }, (_, part) => {
    const values = Int32Array.of(seedOfPart(config, part), step);
    return [keyOfPart(part), { shape: [2], values }];
  });
  return {
    ...train.trainingValues(indices, config, step),
    ...Object.fromEntries(keys),
    ...updateValues(parts, step),
  };
}

/**
 * The seed of the dropout masks of a part of a batch, from 0. Images of its parts are counted from 0,
 * so equal ones would drop the same of each.
 */
export function seedOfPart({ seed }: Pick<RunConfig, "seed">, part: number): number {
  return seed + Math.imul(part, 0x9e3779b9) | 0;
}

/** The values of a step's update alone. */
export function updateValues(
  { config, optimizer, average, train }: StepParts,
  step: number,
): Record<string, InputValues> {
  const factor = scheduleFactor(config, step, stepsPerEpoch(config.batchSize, train.count));
  return {
    scalars: { shape: [2], values: optimizer.scalars(factor) },
    ...(average && { averageShares: { shape: [2], values: average.shares(step) } }),
  };
}

/** The name of the input that holds (seed, step) for a part of a batch, from 0. */
function keyOfPart(part: number): string {
  return part === 0 ? "stepKey" : `stepKey${part}`;
}

/**
 * {@linkcode gradientsOf} for tensors of {@linkcode stepValues}, in parts where they accumulate, and in
 * the precision of the run.
 */
export function stepGradients(
  parts: StepParts,
  inputs: Record<string, tf.Tensor>,
): StepGradients {
  return inPrecision(parts.config.precision, () => gradientsOfStep(parts, inputs));
}

function gradientsOfStep(
  { config, model, variables, train }: StepParts,
  inputs: Record<string, tf.Tensor>,
): StepGradients {
  const { imageSize, batchSize, accumulate, labelSmoothing } = config;
  const split = splitModel(model, config);
  const gradients = (part: Record<string, tf.Tensor>, stepKey: tf.Tensor) => {
    const batch = train.batch(part, imageSize);
    return gradientsOf(model, variables, batch, stepKey as tf.Tensor1D, {
      smoothing: labelSmoothing,
      split,
    });
  };
  if (accumulate === 1) return gradients(inputs, inputs.stepKey!);

  return tf.tidy(() => {
    const count = inputs.labels!.shape[0]!;
    const most = batchSize / accumulate;
    const stats: tf.Tensor2D[] = [];
    const sum = new GradientSum(count);
    for (let from = 0; from < count; from += most) {
      const images = Math.min(most, count - from);
      const part = train.partOf(inputs, from, images);
      const found = gradients(part, inputs[keyOfPart(stats.length)]!);
      stats.push(found.stats);
      sum.add(found.gradients, images);
    }
    const joined = stats.length === 1 ? stats[0]! : tf.concat(stats, 0);
    return { stats: joined, gradients: sum.gradients } as StepGradients & tf.TensorContainer;
  });
}

/** The gradients of a batch's mean loss, added up from those of its parts. */
class GradientSum {
  /** By the variables' names; what a variable that takes no part has is left out. */
  readonly gradients: tf.NamedTensorMap = {};
  private share = 1;
  private parts = 0;

  /** @param count images of the batch */
  constructor(private readonly count: number) {}

  /**
   * Takes in the gradients of one part's mean loss, which it owns from then on.
   * @param images of the part
   */
  add(gradients: tf.NamedTensorMap, images: number): void {
    const share = images / this.count;
    const present = Object.entries(gradients).filter(([, gradient]) => gradient !== null);
    if (this.parts++ === 0) {
      this.share = share;
      for (const [name, gradient] of present) {
        // The sum is in place, so it needs data of its own.
        this.gradients[name] = isShared(gradient) ? tf.add(gradient, 0) : gradient;
      }
      return;
    }
    const pairs = present.map(([name, from]) => ({ into: this.gradients[name]!, from }));
    blend(pairs, [this.share, share]);
    tf.dispose(present.map(([, gradient]) => gradient));
    this.share = 1;
  }
}

/** Training steps of a run, each with its update and its statistics. */
export interface Training {
  /** Begins to read a batch that will be wanted soon. */
  prefetch(indices: Int32Array): void;
  /** Whether the run is to end after the steps done. */
  readonly isStopped: boolean;
  /** Bytes that a step takes on the device beside weights and moments, where they are known. */
  readonly memory?: Pick<CaptureStats, "plannedBytes" | "f32Bytes">;
  /**
   * Trains on one batch and adds its statistics to the metrics. The device may still be at work
   * when it returns.
   *
   * @param indices which images of the split, `[batch]`
   * @param step number of the step, from 0: keys augmentation and dropout
   */
  run(indices: Int32Array, step: number): Promise<void>;
  dispose(): void;
}

/** Training steps in one process. Owns a capture on the device. */
export class TrainingStep implements Training {
  private readonly repeated: Repeated<Record<string, tf.Tensor>, void>;

  /** @param signal ends the run after the step in hand */
  constructor(
    private readonly parts: StepParts,
    private readonly metrics: DeviceMetrics,
    private readonly signal?: AbortSignal,
  ) {
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

  get memory(): CaptureStats | undefined {
    return this.repeated.captureOf({})?.stats;
  }

  /** The captured step of a batch of so many images, if there is one. */
  captureOf(images: number): Capture<void> | undefined {
    return this.repeated.captureOf({ labels: [images] });
  }

  prefetch(indices: Int32Array): void {
    this.parts.train.prefetch(indices);
  }

  get isStopped(): boolean {
    return this.signal?.aborted ?? false;
  }

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
    this.parts.average?.update(inputs.averageShares as tf.Tensor1D);
    this.metrics.add(inputs.row as tf.Tensor1D, stats);
  }

  dispose(): void {
    this.repeated.dispose();
  }
}
