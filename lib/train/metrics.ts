/** Loss, accuracy and top-5 accuracy, from sums that do not depend on when they are read. */
import type { tf } from "../tfjs.ts";
import { withGpuCheck } from "../backend/device.ts";
import { accumulateMetrics, TOTALS_COLUMNS, zeroTotals } from "../kernels/accumulate_metrics.ts";

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
  /** How many of the images are in no other sum, their loss being NaN or infinite; absent for 0. */
  skipped?: number;
}

/** The sums of no images. */
export function noSums(): MetricSums {
  return { loss: 0, top1: 0, top5: 0, images: 0 };
}

/** The means of sums; NaN where no image was counted. */
export function metricsOf(sums: MetricSums): Metrics {
  const images = sums.images - (sums.skipped ?? 0);
  return {
    loss: sums.loss / images,
    accuracy: sums.top1 / images,
    top5: sums.top5 / images,
  };
}

/** The sums of images that count as seen and as nothing else. */
export function skippedSums(images: number): MetricSums {
  return { loss: 0, top1: 0, top5: 0, images, skipped: images };
}

/** Sums of the batches since the last read, on the device. Owns one tensor; call `dispose`. */
export class DeviceMetrics {
  private readonly totals: tf.Tensor2D;
  private batches = 0;

  /** @param capacity most batches between two reads */
  constructor(capacity: number) {
    this.totals = zeroTotals(capacity);
  }

  /** Batches since the last read. */
  get unread(): number {
    return this.batches;
  }

  /** Adds one batch's statistics, float32 `[batch, 3]`; does not wait for the device. */
  add(stats: tf.Tensor2D): void {
    accumulateMetrics(this.totals, this.nextRow(), stats);
  }

  /**
   * The place of one more batch, for {@linkcode addAt}.
   * @throws {RangeError} when there are as many as can be held
   */
  nextRow(): number {
    const [capacity] = this.totals.shape;
    if (this.batches === capacity) {
      throw new RangeError(`Metrics of ${capacity} batches have no place for one more.`);
    }
    return this.batches++;
  }

  /**
   * Adds one batch's statistics, as a captured step does.
   * @param row int32 `[1]`, which holds what {@linkcode nextRow} gave
   * @param stats float32 `[batch, 3]`
   */
  addAt(row: tf.Tensor1D, stats: tf.Tensor2D): void {
    accumulateMetrics(this.totals, row, stats);
  }

  /**
   * Reads the sums of each batch since the last read, in order, and starts again.
   * @throws {UserError} when the device is lost or out of memory
   */
  async take(): Promise<MetricSums[]> {
    const values = await withGpuCheck(() => this.totals.data<"float32">());
    const taken = Array.from({ length: this.batches }, (_, row) => {
      const [loss, top1, top5, images] = values.subarray(row * TOTALS_COLUMNS);
      return { loss: loss!, top1: top1!, top5: top5!, images: images! };
    });
    this.batches = 0;
    return taken;
  }

  dispose(): void {
    this.totals.dispose();
  }
}

/** The sums of two disjoint sets of images. */
export function addSums(a: MetricSums, b: MetricSums): MetricSums {
  return {
    loss: a.loss + b.loss,
    top1: a.top1 + b.top1,
    top5: a.top5 + b.top5,
    images: a.images + b.images,
    ...((a.skipped || b.skipped) && { skipped: (a.skipped ?? 0) + (b.skipped ?? 0) }),
  };
}
