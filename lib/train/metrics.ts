/** Loss, accuracy and top-5 accuracy, from sums that do not depend on when they are read. */
import type { tf } from "../tfjs.ts";
import { withGpuCheck } from "../backend/device.ts";
import type { MetricSums } from "../checkpoint/progress.ts";
import { accumulateMetrics, TOTALS_COLUMNS, zeroTotals } from "../kernels/accumulate_metrics.ts";

/** Means over the images seen; accuracies in 0..1. */
export interface Metrics {
  /** Mean cross-entropy, in nats. */
  loss: number;
  /** Share of images whose first guess was right. */
  accuracy: number;
  /** Share of images with the right class among the first five. */
  top5: number;
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

/** Sums of images that count as seen and as nothing else. */
export function skippedSums(images: number): MetricSums {
  return { loss: 0, top1: 0, top5: 0, images, skipped: images };
}

/** Sums of two disjoint sets of images. */
export function addSums(a: MetricSums, b: MetricSums): MetricSums {
  return {
    loss: a.loss + b.loss,
    top1: a.top1 + b.top1,
    top5: a.top5 + b.top5,
    images: a.images + b.images,
    ...((a.skipped || b.skipped) && { skipped: (a.skipped ?? 0) + (b.skipped ?? 0) }),
  };
}

/** Sums of batches, kept until somebody asks. */
export interface BatchMetrics {
  /** Batches since the last read. */
  readonly unread: number;
  /** The sums of each batch since the last read, in order; starts again. */
  take(): Promise<MetricSums[]>;
}

/** Sums of batches that are known on the host anyway. */
export class HostMetrics implements BatchMetrics {
  private sums: MetricSums[] = [];

  get unread(): number {
    return this.sums.length;
  }

  add(sums: MetricSums): void {
    this.sums.push(sums);
  }

  take(): Promise<MetricSums[]> {
    return Promise.resolve(this.sums.splice(0));
  }
}

/** Sums of the batches since the last read, on the device. Owns one tensor; call `dispose`. */
export class DeviceMetrics implements BatchMetrics {
  private readonly totals: tf.Tensor2D;
  private batches = 0;

  /** @param capacity most batches between two reads */
  constructor(readonly capacity: number) {
    this.totals = zeroTotals(capacity);
  }

  /** Batches since the last read. */
  get unread(): number {
    return this.batches;
  }

  /**
   * The row of the next batch, from 0; {@linkcode advance} takes it.
   * @throws {RangeError} when there are as many as can be held
   */
  get nextRow(): number {
    if (this.batches < this.capacity) return this.batches;
    throw new RangeError(`Metrics of ${this.capacity} batches have no place for one more.`);
  }

  /**
   * Writes one batch's sums into a row; does not wait for the device.
   * @param row int32 `[1]`, which holds {@linkcode nextRow}
   * @param stats float32 `[batch, 3]`: loss, top-1 hit and top-5 hit of each image
   */
  add(row: tf.Tensor1D, stats: tf.Tensor2D): void {
    accumulateMetrics(this.totals, row, stats);
  }

  /** Counts the row as taken. */
  advance(): void {
    this.batches++;
  }

  /**
   * Reads the sums of each batch since the last read, in order, and starts again.
   * @throws {UserError} when the device is lost or out of memory
   */
  async take(): Promise<MetricSums[]> {
    if (this.batches === 0) return [];
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
