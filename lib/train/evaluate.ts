import { tf } from "../tfjs.ts";
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
 * @param onBatch told after each batch how many records are done
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
  const perRecord = new Float32Array(split.count * 3);
  let done = 0;
  for (const records of inOrder(split.count, options.batchSize)) {
    options.signal?.throwIfAborted();
    const stats = tf.tidy(() =>
      evaluationStep(model, split.evaluationBatch(records, options.imageSize))
    );
    perRecord.set(await stats.data<"float32">(), done * 3);
    stats.dispose();
    done += records.length;
    options.onBatch?.(done, split.count);
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
