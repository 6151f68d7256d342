import type { tf } from "../tfjs.ts";
import { Repeated } from "../capture/repeated.ts";
import { adviseBatch } from "../backend/device.ts";
import { type MetricSums, noSums } from "../checkpoint/progress.ts";
import { assertWhole } from "../checks.ts";
import { type DeviceSplit, inOrder } from "./batches.ts";
import { type Metrics, metricsOf } from "./metrics.ts";
import { evaluationStep } from "./step.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** Images of one pass through the model. */
  batchSize: number;
  /** Told after each batch how many images are done. */
  onBatch?: (done: number, count: number) => void;
  /** Ends the evaluation before the next batch, by throwing its reason. */
  signal?: AbortSignal;
}

/**
 * Loss, top-1 and top-5 accuracy of a model on a split, without augmentation or dropout.
 *
 * @throws {UserError} when the batch size is no whole number from 1, when the device is lost or out of
 * memory
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
  model: tf.LayersModel,
  split: DeviceSplit,
  options: EvaluateOptions,
): Promise<Metrics> {
  return metricsOf(sumsOf(await evaluateEach(model, split, options)));
}

/**
 * Statistics of every image of a split: float32 `[count, 3]` row by row, its loss, 1 for a top-1
 * hit, 1 for a top-5 hit.
 *
 * @throws {UserError} when the batch size is no whole number from 1, when the device is lost or out of
 * memory
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
  model: tf.LayersModel,
  split: DeviceSplit,
  { batchSize, onBatch, signal }: EvaluateOptions,
): Promise<Float32Array> {
  assertWhole("batchSize", batchSize, 1);
  const imageSize = model.inputs[0]!.shape[1]!;
  const statistics = new Float32Array(split.count * 3);
  const repeated = new Repeated((inputs) => evaluationStep(model, split.batch(inputs, imageSize)));
  let done = 0;
  try {
    const batches = [...inOrder(split.count, batchSize)];
    for (const [position, indices] of batches.entries()) {
      signal?.throwIfAborted();
      await split.ready(indices);
      if (position + 1 < batches.length) split.prefetch(batches[position + 1]!);
      statistics.set(await repeated.read(split.evaluationValues(indices)), done * 3);
      done += indices.length;
      onBatch?.(done, split.count);
      // A turn of the event loop, or signals would wait until the end.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } catch (error) {
    throw adviseBatch(error, batchSize);
  } finally {
    repeated.dispose();
  }
  return statistics;
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
