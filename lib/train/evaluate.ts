import type { tf } from "../tfjs.ts";
import { currentGpu } from "../backend/device.ts";
import { Repeated } from "../capture/repeated.ts";
import { type DeviceSplit, inOrder } from "./batches.ts";
import { type Metrics, metricsOf, type MetricSums, noSums } from "./metrics.ts";
import { evaluationStep } from "./step.ts";

/** What an evaluation finds. */
export interface Evaluation extends Metrics {
  /** float32 `[count, 3]` row by row: loss, top-1 hit, top-5 hit of each record. */
  perRecord: Float32Array;
}

/**
 * Evaluates a model on a split, without augmentation or dropout.
 *
 * @param options.onBatch told after each batch how many records are done
 * @param options.signal ends the evaluation before the next batch, by throwing its reason
 * @throws {UserError} when the device is lost or out of memory
 */
export async function evaluate(
  model: tf.LayersModel,
  split: DeviceSplit,
  options: {
    batchSize: number;
    imageSize: number;
    onBatch?: (done: number, count: number) => void;
    signal?: AbortSignal;
  },
): Promise<Evaluation> {
  const gpu = currentGpu();
  // The error about a buffer above the device's limit then names the batch that fits.
  if (gpu) gpu.batchSize = options.batchSize;
  const perRecord = new Float32Array(split.count * 3);
  const statistics = new Repeated((batch: { indices: tf.Tensor1D; labels: tf.Tensor1D }) =>
    evaluationStep(model, {
      images: split.images(batch.indices, null, options.imageSize),
      labels: batch.labels,
    })
  );
  let done = 0;
  try {
    for (const records of inOrder(split.count, options.batchSize)) {
      options.signal?.throwIfAborted();
      const shape = [records.length];
      const read = await statistics.read({
        indices: { shape, values: records },
        labels: { shape, values: split.labelsOf(records) },
      });
      perRecord.set(read, done * 3);
      done += records.length;
      options.onBatch?.(done, split.count);
      // A turn of the event loop, or signals would wait until the end.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } finally {
    statistics.dispose();
  }
  return { ...metricsOf(sumsOf(perRecord)), perRecord };
}

function sumsOf(perRecord: Float32Array): MetricSums {
  const sums = noSums();
  for (let i = 0; i < perRecord.length; i += 3) {
    sums.loss += perRecord[i]!;
    sums.top1 += perRecord[i + 1]!;
    sums.top5 += perRecord[i + 2]!;
    sums.images++;
  }
  return sums;
}
