/**
 * A split of a data set on the device, and the batches taken from it.
 *
 * Images are uploaded once, as packed bytes; a batch is a list of record indices, gathered and
 * augmented there.
 */
import { tf } from "../tfjs.ts";
import { webgpuBackend } from "../backend/compute.ts";
import type { RunConfig } from "../config/run.ts";
import type { ImageSplit } from "../data/dataset.ts";
import { drawTransforms } from "../augment/transforms.ts";
import { augmentBatch, packImages } from "../kernels/augment_batch/augment_batch.ts";
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

/** What a step of training takes from JavaScript to make its batch. */
export interface BatchValues {
  /** Which records, `[batch]`. */
  indices: Int32Array;
  /** `[batch]`. */
  labels: Int32Array;
  /** `[batch, 6]`, see transforms.ts of `lib/augment/`. */
  transforms: Float32Array;
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
    const { indices, labels, transforms } = this.trainingValues(records, config, step);
    return this.batch(indices, labels, transforms, config.imageSize);
  }

  /** What makes {@linkcode trainingBatch} differ from that of another step. */
  trainingValues(records: Int32Array, config: RunConfig, step: number): BatchValues {
    const { seed, flip, rotation, zoom, imageSize } = config;
    const batch = records.length;
    const drawn = { batch, size: imageSize, seed, step, flip, rotation, zoom };
    return {
      indices: records,
      labels: this.labelsOf(records),
      transforms: drawTransforms(drawn),
    };
  }

  /** The batch of `records` as evaluation sees it: normalized and resized only. */
  evaluationBatch(records: Int32Array, imageSize: number): Batch {
    return this.batch(records, this.labelsOf(records), null, imageSize);
  }

  /** int32 `[batch]`. */
  labelsOf(records: Int32Array): Int32Array {
    return Int32Array.from(records, (record) => this.split.labels[record]!);
  }

  private batch(
    records: Int32Array,
    labels: Int32Array,
    transforms: Float32Array | null,
    size: number,
  ): Batch {
    return tf.tidy(() => ({
      images: this.images(
        tf.tensor1d(records, "int32"),
        transforms && tf.tensor2d(transforms, [records.length, 6]),
        size,
      ),
      labels: tf.tensor1d(labels, "int32"),
    }));
  }

  /**
   * Model input of records that lie on the device already, as a captured step has them.
   *
   * @param indices int32 `[batch]`
   * @param transforms float32 `[batch, 6]`; null for none
   */
  images(indices: tf.Tensor1D, transforms: tf.Tensor2D | null, size: number): tf.Tensor4D {
    return augmentBatch(this.packed, indices, transforms, { ...this.how, size });
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
