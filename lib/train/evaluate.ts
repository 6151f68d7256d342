import type { tf } from "../tfjs.ts";
import { Repeated } from "../capture/repeated.ts";
import { adviseBatch } from "../backend/device.ts";
import { inPrecision, type Precision } from "../backend/precision.ts";
import type { StepModel } from "../models/trained.ts";
import type { Ranks } from "../distributed/ranks.ts";
import { type MetricSums, noSums } from "../checkpoint/progress.ts";
import { assertWhole } from "../checks.ts";
import { type BatchSource, type DeviceSplit, inOrder } from "./batches.ts";
import { type Metrics, metricsOf } from "./metrics.ts";
import { checkPrecision } from "./precision.ts";
import { rangeOf } from "./shares.ts";
import { evaluationStep, evaluationWithLogits } from "./step.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** Images of one pass through the model. */
  batchSize: number;
  /** What the large tensors of a pass are stored as, on webgpu; f32 by default. */
  precision?: Precision;
  /** Told after each batch how many images are done. */
  onBatch?: (done: number, count: number) => void;
  /** Ends the evaluation before the next batch, by throwing its reason. */
  signal?: AbortSignal;
}

/** Options of {@linkcode evaluate} where several processes evaluate one split. */
export interface RankedEvaluateOptions extends EvaluateOptions {
  /** They, each of which calls it; this one alone by default. */
  ranks?: Ranks;
}

/**
 * Loss, top-1 and top-5 accuracy of a model on a split, without augmentation or dropout.
 *
 * @throws {UserError} when the batch size is no whole number from 1, when the device has not the
 * precision, is lost or out of memory
 *
 * @example
 * ```ts
 * import { createShapes, createViTClassifier, DeviceDataset, evaluate } from "../../mod.ts";
 * import { modelConfigOf, preset, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = preset("tiny");
 * const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
 * using data = new DeviceDataset(createShapes({ train: 60, test: 20 }), config);
 * const { loss, accuracy, top5 } = await evaluate(model, data.test, { batchSize: 20 });
 * console.log(loss.toFixed(1), accuracy, top5); // 4.7 0 0.05
 * ```
 */
export async function evaluate(
  model: StepModel,
  split: BatchSource,
  options: RankedEvaluateOptions,
): Promise<Metrics> {
  const { ranks } = options;
  if (!ranks) return metricsOf(sumsOf(await evaluateEach(model, split, options)));
  const { from, to } = rangeOf(split.count, ranks);
  const statistics = new Float32Array((to - from) * 3);
  const step = (inputs: Record<string, tf.Tensor>) =>
    evaluationStep(model, split.batch(inputs, imageSizeOf(model)));
  const batchSize = Math.ceil(options.batchSize / ranks.size);
  await overBatches(split, { ...options, batchSize, from, to }, step, (values, start) => {
    statistics.set(values, (start - from) * 3);
  });
  const { loss, top1, top5, images } = sumsOf(statistics);
  const sums = Float64Array.of(loss, top1, top5, images);
  ranks.sum(sums);
  return metricsOf({ loss: sums[0]!, top1: sums[1]!, top5: sums[2]!, images: sums[3]! });
}

/**
 * Statistics of every image of a split: float32 `[count, 3]` row by row, its loss, 1 for a top-1
 * hit, 1 for a top-5 hit.
 *
 * @throws {UserError} when the batch size is no whole number from 1, when the device has not the
 * precision, is lost or out of memory
 *
 * @example
 * ```ts
 * import { createShapes, createViTClassifier, DeviceDataset, evaluateEach } from "../../mod.ts";
 * import { modelConfigOf, preset, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = preset("tiny");
 * const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
 * using data = new DeviceDataset(createShapes({ train: 60, test: 20 }), config);
 * const [loss, top1, top5] = await evaluateEach(model, data.test, { batchSize: 20 });
 * console.log("the first image:", loss, top1, top5);
 * ```
 */
export async function evaluateEach(
  model: StepModel,
  split: BatchSource,
  options: EvaluateOptions,
): Promise<Float32Array> {
  const statistics = new Float32Array(split.count * 3);
  await overBatches(split, options, (inputs) => {
    return evaluationStep(model, split.batch(inputs, imageSizeOf(model)));
  }, (values, start) => statistics.set(values, start * 3));
  return statistics;
}

/** Statistics of every image, and what the model takes it for. */
export interface Guesses {
  /** As {@linkcode evaluateEach} gives them. */
  statistics: Float32Array;
  /** `[count]`, the likeliest class of each image; of equal ones the first. */
  guesses: Int32Array;
  /** `[count]`, how likely that class is, 0 to 1. */
  probabilities: Float32Array;
}

/**
 * As {@linkcode evaluateEach}, with the class that each image is taken for. All logits are read for
 * that, so training evaluates without.
 *
 * @throws {UserError} as {@linkcode evaluateEach} does
 */
export async function evaluateGuesses(
  model: tf.LayersModel,
  split: DeviceSplit,
  options: EvaluateOptions,
): Promise<Guesses> {
  const statistics = new Float32Array(split.count * 3);
  const guesses = new Int32Array(split.count);
  const probabilities = new Float32Array(split.count);
  await overBatches(split, options, (inputs) => {
    return evaluationWithLogits(model, split.batch(inputs, imageSizeOf(model)));
  }, (values, start, images) => {
    const width = values.length / images;
    for (let i = 0; i < images; i++) {
      const row = values.subarray(i * width, (i + 1) * width);
      statistics.set(row.subarray(0, 3), (start + i) * 3);
      const logits = row.subarray(3);
      let best = 0;
      for (let k = 1; k < logits.length; k++) if (logits[k]! > logits[best]!) best = k;
      guesses[start + i] = best;
      const most = logits[best]!;
      probabilities[start + i] = 1 / logits.reduce((sum, x) => sum + Math.exp(x - most), 0);
    }
  });
  return { statistics, guesses, probabilities };
}

/** Computes `step` for images in order, batch by batch, and hands on what it gives. */
export async function overBatches(
  split: BatchSource,
  { batchSize, precision = "f32", onBatch, signal, from = 0, to = split.count }:
    & EvaluateOptions
    & Partial<ReturnType<typeof rangeOf>>,
  step: (inputs: Record<string, tf.Tensor>) => tf.Tensor,
  take: (values: Float32Array, start: number, images: number) => void,
): Promise<void> {
  assertWhole("batchSize", batchSize, 1);
  checkPrecision(precision);
  const repeated = new Repeated((inputs: Record<string, tf.Tensor>) =>
    inPrecision(precision, () => step(inputs))
  );
  let done = from;
  try {
    const batches = [...inOrder(to, batchSize, from)];
    for (const [position, indices] of batches.entries()) {
      signal?.throwIfAborted();
      await split.ready(indices);
      if (position + 1 < batches.length) split.prefetch(batches[position + 1]!);
      take(await repeated.read(split.evaluationValues(indices)), done, indices.length);
      done += indices.length;
      onBatch?.(Math.round((done - from) / (to - from) * split.count), split.count);
      // A turn of the event loop, or signals would wait until the end.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } catch (error) {
    throw adviseBatch(error, batchSize);
  } finally {
    repeated.dispose();
  }
}

/** Side of the images that a model takes. */
export function imageSizeOf(model: StepModel): number {
  return model.inputs[0]!.shape[1]!;
}

/** Sums of what {@linkcode evaluateEach} gives. */
export function sumsOf(statistics: Float32Array): MetricSums {
  const sums = noSums();
  for (let i = 0; i < statistics.length; i += 3) {
    sums.loss += statistics[i]!;
    sums.top1 += statistics[i + 1]!;
    sums.top5 += statistics[i + 2]!;
    sums.images++;
  }
  return sums;
}
