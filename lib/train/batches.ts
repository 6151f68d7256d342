/**
 * A split of a data set on the device, and the batches taken from it.
 *
 * Images are uploaded once, as packed bytes; a batch is a list of record indices, gathered and
 * augmented there.
 */
import { tf } from "../tfjs.ts";
import { webgpuBackend } from "../backend/compute.ts";
import type { RunConfig } from "../config.ts";
import type { ImageSplit } from "../data/dataset.ts";
import { drawTransforms } from "../augment/transforms.ts";
import { augmentBatch, packImages } from "../kernels/augment_batch.ts";
import { permutation, streamKey, streams } from "../random.ts";

/** What turns stored bytes into model input. */
export interface Preprocessing {
  height: number;
  width: number;
  channels: number;
  /** Mean of each channel over the train images, pixel values 0..255. */
  mean: number[];
  /** Variance of each channel over the train images. */
  variance: number[];
}

/** Model input and labels of one batch. */
export interface Batch {
  /** `[batch, imageSize, imageSize, channels]`, normalized. */
  images: tf.Tensor4D;
  /** int32 `[batch]`. */
  labels: tf.Tensor1D;
}

/** One split of the data on the device. Owns its tensors; call `dispose`. */
export class DeviceSplit {
  private readonly packed: tf.Tensor2D[];

  constructor(private readonly split: ImageSplit, private readonly how: Preprocessing) {
    this.packed = packImages(split.images, how.height * how.width * how.channels);
    // tfjs uploads at first use, and memory would grow when validation begins.
    if (tf.getBackend() === "webgpu") {
      for (const { dataId } of this.packed) webgpuBackend().uploadToGPU(dataId);
    }
  }

  get count(): number {
    return this.split.count;
  }

  /** The augmented batch of `records` at training step `step`. */
  trainingBatch(records: Int32Array, config: RunConfig, step: number): Batch {
    const { seed, flip, rotation, zoom, imageSize } = config;
    const batch = records.length;
    const drawn = { batch, size: imageSize, seed, step, flip, rotation, zoom };
    return this.batch(records, drawTransforms(drawn), imageSize);
  }

  /** The batch of `records` as evaluation sees it: normalized and resized only. */
  evaluationBatch(records: Int32Array, imageSize: number): Batch {
    return this.batch(records, null, imageSize);
  }

  private batch(records: Int32Array, transforms: Float32Array | null, size: number): Batch {
    const labels = Int32Array.from(records, (record) => this.split.labels[record]!);
    return tf.tidy(() => ({
      images: augmentBatch(
        this.packed,
        tf.tensor1d(records, "int32"),
        transforms && tf.tensor2d(transforms, [records.length, 6]),
        { ...this.how, size },
      ),
      labels: tf.tensor1d(labels, "int32"),
    }));
  }

  dispose(): void {
    tf.dispose(this.packed);
  }
}

/** The order in which epoch `epoch` (from 0) visits `count` records. */
export function epochOrder(count: number, seed: number, epoch: number): Int32Array {
  return permutation(count, streamKey(seed, streams.shuffle, epoch));
}

/** The record indices of a split in order, `batchSize` at a time; the last may be shorter. */
export function* inOrder(count: number, batchSize: number): Generator<Int32Array> {
  for (let start = 0; start < count; start += batchSize) {
    const length = Math.min(batchSize, count - start);
    yield Int32Array.from({ length }, (_, i) => start + i);
  }
}
