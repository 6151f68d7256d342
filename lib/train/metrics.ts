/** Loss, accuracy and top-5 accuracy, from sums that are exact whatever the number of reads. */
import { tf } from "../tfjs.ts";
import { accumulateMetrics, zeroTotals } from "../kernels/accumulate_metrics.ts";

/** Means over the images seen; accuracies in 0..1. */
export interface Metrics {
  loss: number;
  accuracy: number;
  top5: number;
}

/** Sums over the images seen; what a checkpoint keeps of a half-done epoch. */
export interface MetricSums {
  loss: number;
  top1: number;
  top5: number;
  images: number;
}

/** The sums of no images. */
export function noSums(): MetricSums {
  return { loss: 0, top1: 0, top5: 0, images: 0 };
}

/** The means of sums. */
export function metricsOf(sums: MetricSums): Metrics {
  return {
    loss: sums.loss / sums.images,
    accuracy: sums.top1 / sums.images,
    top5: sums.top5 / sums.images,
  };
}

/** What a read of the device's totals brings. */
export interface MetricRead {
  sums: MetricSums;
  /** Batches with a finite loss before the first without; all of them when training is healthy. */
  finiteBatches: number;
}

/** Sums on the device between two reads. Owns one tensor; call `dispose`. */
export class DeviceMetrics {
  private totals = zeroTotals();

  /** Adds one batch's statistics, float32 `[batch, 3]`; does not wait for the device. */
  add(stats: tf.Tensor2D): void {
    accumulateMetrics(this.totals, stats);
  }

  /** Reads the sums since the last read, and starts again from zero. */
  async take(): Promise<MetricRead> {
    const read = this.totals;
    this.totals = zeroTotals();
    const [loss, top1, top5, images, finiteBatches] = await read.data<"float32">();
    read.dispose();
    return {
      sums: { loss: loss!, top1: top1!, top5: top5!, images: images! },
      finiteBatches: finiteBatches!,
    };
  }

  dispose(): void {
    tf.dispose(this.totals);
  }
}

/** The sums of two disjoint sets of images. */
export function addSums(a: MetricSums, b: MetricSums): MetricSums {
  return {
    loss: a.loss + b.loss,
    top1: a.top1 + b.top1,
    top5: a.top5 + b.top5,
    images: a.images + b.images,
  };
}
