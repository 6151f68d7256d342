/**
 * Features: what the frozen part of a model makes of each image. Where no augmentation draws, they are
 * the same at each step, so they can be computed once and the rest of the model trained on them as a
 * model of its own, by the same loop.
 *
 * They lie in the host's memory, and a batch of them is an input of the step: those of a pooled
 * backbone are some thousand times smaller than what computing them takes.
 */
import type { InputValues } from "../capture/repeated.ts";
import type { RunConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import type { Ranks } from "../distributed/ranks.ts";
import {
  applied,
  type SplitModel,
  splitModel,
  type StepModel,
  trainedPart,
} from "../models/trained.ts";
import { tf } from "../tfjs.ts";
import type { Batch, BatchInputs, BatchSource, DeviceSplit, ImageRange } from "./batches.ts";
import { imageSizeOf, overBatches } from "./evaluate.ts";
import type { RunEvent } from "./events.ts";

/** The features of a split's images, with their labels. */
export class FeatureSplit implements BatchSource {
  /** Numbers of one image. */
  private readonly size: number;

  /**
   * @param features of one image after another
   * @param shape of one image's
   * @param labels `[count]`
   */
  constructor(
    private readonly features: Float32Array,
    private readonly shape: readonly number[],
    private readonly labels: ArrayLike<number>,
  ) {
    this.size = tf.util.sizeFromShape([...shape]);
  }

  get count(): number {
    return this.labels.length;
  }

  prefetch(): void {}

  ready(): Promise<void> {
    return Promise.resolve();
  }

  trainingValues(indices: Int32Array): Record<string, InputValues> {
    return this.evaluationValues(indices);
  }

  evaluationValues(indices: Int32Array): Record<string, InputValues> {
    const { features, shape, labels, size } = this;
    const rows = new Float32Array(indices.length * size);
    indices.forEach((index, i) => {
      rows.set(features.subarray(index * size, (index + 1) * size), i * size);
    });
    return {
      features: { shape: [indices.length, ...shape], values: rows },
      labels: { shape: [indices.length], values: indices.map((index) => labels[index]!) },
    };
  }

  imagesOf(indices: Int32Array, { from, images }: ImageRange): Int32Array {
    return indices.subarray(from, from + images);
  }

  shareValues(indices: Int32Array, share: ImageRange): Record<string, InputValues> {
    return this.evaluationValues(this.imagesOf(indices, share));
  }

  batch({ features, labels }: BatchInputs): Batch {
    return { images: features as tf.Tensor4D, labels: { first: labels as tf.Tensor1D } };
  }

  partOf({ features, labels, ...rest }: BatchInputs, from: number, images: number): BatchInputs {
    return {
      ...rest,
      features: tf.slice(features!, from, images),
      labels: tf.slice(labels!, from, images),
    };
  }
}

/** Options of {@linkcode keepFeatures}: those of the training loop that it looks at. */
export interface FeatureOptions {
  config: RunConfig;
  model: tf.LayersModel;
  data: { train: DeviceSplit; validation: DeviceSplit | null };
  signal?: AbortSignal;
  ranks?: Ranks;
  onEvent?: (event: RunEvent) => void;
}

/** A model's trained part, and what it is trained and validated on. */
export interface KeptFeatures {
  model: StepModel;
  data: { train: FeatureSplit; validation: FeatureSplit | null };
}

/**
 * Computes the features of a run's images, in batches as an evaluation has them: the same ones
 * whenever the run is taken up again. Each of several ranks computes them all, for the order of an
 * epoch gives it any of them.
 * @returns `stopped` when the signal aborted meanwhile
 * @throws {UserError} when there is no memory for them
 */
export async function keepFeatures(
  { config, model, data, signal, ranks, onEvent }: FeatureOptions,
): Promise<KeptFeatures | "stopped"> {
  const split = splitModel(model, config)!;
  const shape = (split.frozen.at(-1)!.output as tf.SymbolicTensor).shape.slice(1) as number[];
  const size = tf.util.sizeFromShape(shape);
  const count = data.train.count + (data.validation?.count ?? 0);
  const bytes = 4 * count * size;
  let before = 0;
  const featuresOf = async (images: DeviceSplit): Promise<FeatureSplit> => {
    const features = roomFor(images.count * size, bytes, config);
    const step = (inputs: BatchInputs) => {
      return frozenOutput(split, images.batch(inputs, imageSizeOf(model)));
    };
    const onBatch = (done: number) => {
      onEvent?.({ type: "features", done: before + done, count });
    };
    await overBatches(
      images,
      {
        batchSize: config.batchSize / config.accumulate,
        precision: config.precision,
        onBatch,
        // A rank alone cannot leave what all do.
        signal: ranks ? undefined : signal,
      },
      step,
      (values, start) => features.set(values, start * size),
    );
    before += images.count;
    return new FeatureSplit(features, shape, images.labels);
  };
  try {
    const train = await featuresOf(data.train);
    const validation = data.validation && await featuresOf(data.validation);
    const text = `What is frozen was computed once for each of ${count} images: features of ` +
      `${(bytes / 1e6).toFixed(1)} MB, kept in memory.`;
    onEvent?.({ type: "notice", text });
    return { model: trainedPart(model, split), data: { train, validation } };
  } catch (error) {
    if (!ranks && signal?.aborted) return "stopped";
    throw error;
  }
}

function frozenOutput({ frozen }: SplitModel, { images }: Batch): tf.Tensor {
  return tf.tidy(() => applied(frozen, images, { training: false }) as tf.Tensor);
}

function roomFor(numbers: number, bytes: number, { freeze }: RunConfig): Float32Array {
  try {
    return new Float32Array(numbers);
  } catch {
    throw new UserError(
      `The features of all images with freeze ${freeze} would take ${
        (bytes / 1e9).toFixed(1)
      } GB, more than this machine has; take --freeze backbone, or --cache-features false.`,
    );
  }
}
