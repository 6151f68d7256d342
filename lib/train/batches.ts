/**
 * A split of a data set on the device, and the batches taken from it.
 *
 * Images are uploaded once, as packed bytes; a batch is a list of indices into them, gathered and
 * augmented there.
 */
import { tf } from "../tfjs.ts";
import { webgpuBackend } from "../backend/compute.ts";
import type { InputValues } from "../capture/repeated.ts";
import type { RunConfig } from "../config/run.ts";
import type { ImageSplit, RecordStream } from "../data/dataset.ts";
import type { Preprocessing } from "../data/preprocessing.ts";
import { UserError } from "../errors.ts";
import { augmentationsOf } from "../augment/list.ts";
import { ofKind } from "../augment/listed.ts";
import type { Mix } from "../augment/augmentation.ts";
import { drawMix, unmixed } from "../augment/mixing.ts";
import { drawOperationInputs } from "../augment/operation_inputs.ts";
import { drawTransforms } from "../augment/transforms.ts";
import { packImages } from "../kernels/augment_batch/augment_batch.ts";
import { mixBatch } from "../kernels/mix_batch.ts";
import { permutation, streamKey, streams } from "../random.ts";
import { augmentedImages } from "./augmented_images.ts";
import { isOfImages, joined, mixedValues, mixValues } from "./mixed_values.ts";

/** Labels of a batch. What mixes images gives each a second label, and the first one's share. */
export interface BatchLabels {
  /** int32 `[batch]`; accuracies count hits of these alone. */
  first: tf.Tensor1D;
  /** int32 `[batch]`: the labels of what is mixed in. */
  second?: tf.Tensor1D;
  /** float32 `[batch]`, 0 to 1: the first labels' shares; comes with `second`. */
  share?: tf.Tensor1D;
}

/** Model input and labels of one batch. */
export interface Batch {
  /** `[batch, imageSize, imageSize, channels]`, normalized. */
  images: tf.Tensor4D;
  /** Their classes. */
  labels: BatchLabels;
}

/**
 * Tensors that a batch is made from, by name, as {@linkcode DeviceSplit.trainingValues} has them.
 */
export type BatchInputs = Record<string, tf.Tensor>;

/** The inputs that have a row for each label. Other inputs are of the batch as a whole. */
const rowsOfLabels: readonly string[] = ["labels", "second", "share"];

/** Images of a batch: so many, from one on. */
export interface ImageRange {
  /** Place of the first within the batch. */
  readonly from: number;
  /** How many. */
  readonly images: number;
}

/**
 * What steps take their batches from: a split's images, or their features (features.ts).
 * @internal
 */
export type BatchSource = Pick<
  DeviceSplit,
  | "count"
  | "prefetch"
  | "ready"
  | "trainingValues"
  | "evaluationValues"
  | "imagesOf"
  | "shareValues"
  | "batch"
  | "partOf"
>;

/** Milliseconds that steps have waited for images to be read so far, for benches. */
export let waitedForDataMs = 0;

/**
 * One split of the data on the device. Owns its tensors; call `dispose`.
 *
 * The images of a streamed split stay on disk: a batch is read ahead ({@linkcode prefetch}), waited
 * for ({@linkcode ready}) and becomes an input of the step, from which the same kernel makes the same
 * bytes.
 *
 * @example
 * ```ts
 * import { createShapes, DeviceDataset, DeviceSplit, preset, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const data = new DeviceDataset(createShapes({ train: 60, test: 20 }), preset("tiny"));
 * const split = new DeviceSplit(data.dataset.test, data.preprocessing);
 * console.log(split.count); // 20
 * ```
 */
export class DeviceSplit {
  private readonly packed: tf.Tensor2D[];
  private readonly stream: RecordStream | undefined;
  /** Batches on their way, by their indices. */
  private readonly coming = new Map<string, Promise<Int32Array>>();
  /** The images that are at hand. */
  private read: { indices: Int32Array; words: Int32Array } | undefined;

  /**
   * Puts a split on the device.
   * @throws {UserError} when the bytes are not those of so many images of that size
   */
  constructor(private readonly split: ImageSplit, readonly preprocessing: Preprocessing) {
    const { height, width, channels } = preprocessing;
    this.stream = split.streamed?.open();
    this.packed = [];
    if (this.stream) return;
    if (split.images.length !== split.count * height * width * channels) {
      throw new UserError(
        `${split.images.length} bytes are not ${split.count} images of ` +
          `${height}x${width}x${channels}.`,
      );
    }
    this.packed = packImages(split.images, height * width * channels);
    // tfjs uploads at first use, and memory would grow when validation begins.
    if (tf.getBackend() === "webgpu") {
      for (const { dataId } of this.packed) webgpuBackend().uploadToGPU(dataId);
    }
  }

  /** Images of the split. */
  get count(): number {
    return this.split.count;
  }

  /** `[count]`, the class of each image. */
  get labels(): ArrayLike<number> {
    return this.split.labels;
  }

  /** Begins to read a batch that will be wanted soon; does nothing where the images are here. */
  prefetch(indices: Int32Array): void {
    if (!this.stream || indices.length === 0) return;
    const key = indices.join();
    if (this.coming.has(key)) return;
    const words = this.stream.read(indices);
    // Told when the batch is waited for.
    words.catch(() => {});
    this.coming.set(key, words);
  }

  /**
   * Waits until the images of a batch are at hand, as its values want them.
   * @throws {UserError} if they cannot be read.
   */
  async ready(indices: Int32Array): Promise<void> {
    if (!this.stream) return;
    this.prefetch(indices);
    const key = indices.join();
    const words = this.coming.get(key)!;
    this.coming.delete(key);
    const began = performance.now();
    this.read = { indices, words: await words };
    waitedForDataMs += performance.now() - began;
  }

  /**
   * What makes the augmented batch of a training step differ from that of another step.
   * @param indices which images, `[batch]`
   */
  trainingValues(
    indices: Int32Array,
    config: RunConfig,
    step: number,
  ): Record<string, InputValues> {
    const batch = indices.length;
    const { imageSize: size, seed } = config;
    const augmentations = augmentationsOf(config);
    const drawn = { batch, step, size, seed, augmentations };
    const values = {
      ...this.evaluationValues(indices),
      transforms: { shape: [batch, 6], values: drawTransforms(drawn) },
      ...drawOperationInputs(drawn),
    };
    const mix = this.mixOf(batch, config, step);
    return mix ? mixedValues(values, mix, size) : values;
  }

  /**
   * What makes a batch without augmentation, normalized and resized only.
   * @throws {RangeError} for an image that the split does not have; devices would read others
   */
  evaluationValues(indices: Int32Array): Record<string, InputValues> {
    const shape = [indices.length];
    const labels = new Int32Array(indices.length);
    indices.forEach((index, i) => {
      const label = this.split.labels[index];
      if (label === undefined) throw new RangeError(`There is no image ${index} of ${this.count}.`);
      labels[i] = label;
    });
    const named = { labels: { shape, values: labels } };
    if (!this.stream) return { indices: { shape, values: indices }, ...named };
    const packed = { shape: [indices.length, 0], values: this.wordsOf(indices) };
    packed.shape[1] = packed.values.length / indices.length;
    return { indices: { shape, values: indices.map((_, i) => i) }, packed, ...named };
  }

  /** The words of images at hand: all of them, or some. */
  private wordsOf(indices: Int32Array): Int32Array {
    const { read } = this;
    if (read && read.indices.join() === indices.join()) return read.words;
    const width = read ? read.words.length / read.indices.length : 0;
    const words = new Int32Array(indices.length * width);
    indices.forEach((index, i) => {
      const at = read?.indices.indexOf(index) ?? -1;
      if (at < 0) throw new Error("The batch was not waited for");
      words.set(read!.words.subarray(at * width, (at + 1) * width), i * width);
    });
    return words;
  }

  /**
   * The images of a batch that a share is made from: its own, and where batches are mixed the partner
   * of the last.
   */
  imagesOf(indices: Int32Array, share: ImageRange, config: RunConfig): Int32Array {
    const more = ofKind(augmentationsOf(config), "mix").length > 0 ? 1 : 0;
    return Int32Array.from({ length: share.images + more }, (_, i) => {
      return indices[(share.from + i) % indices.length]!;
    });
  }

  /** As {@linkcode trainingValues}, of some images of the batch alone; each is as it is there. */
  shareValues(
    indices: Int32Array,
    share: ImageRange,
    config: RunConfig,
    step: number,
  ): Record<string, InputValues> {
    const { from, images } = share;
    const { imageSize: size, seed } = config;
    const augmentations = augmentationsOf(config);
    const drawn = (firstIndex: number, batch: number): Record<string, InputValues> => {
      const options = { batch, firstIndex, step, size, seed, augmentations };
      return {
        transforms: { shape: [batch, 6], values: drawTransforms(options) },
        ...drawOperationInputs(options),
      };
    };
    const { labels, ...stored } = this.evaluationValues(this.imagesOf(indices, share, config));
    const values = { ...stored, ...drawn(from, images) };
    const ofImages = (first: number) => ({
      shape: [images],
      values: labels!.values.subarray(first, first + images),
    });
    const mix = this.mixOf(indices.length, config, step);
    if (!mix) return { ...values, labels: ofImages(0) };
    const partner = drawn((from + images) % indices.length, 1);
    for (const [name, rows] of Object.entries(partner)) {
      values[name] = joined(values[name]!, rows);
    }
    return { ...values, labels: ofImages(0), ...mixValues(mix, size, ofImages(1)) };
  }

  /** How the batch of a step is mixed; none where the list mixes nothing. */
  private mixOf(batch: number, config: RunConfig, step: number): Mix | undefined {
    const { imageSize: size, seed, mixEpochs, batchSize } = config;
    const mixes = ofKind(augmentationsOf(config), "mix");
    if (mixes.length === 0) return undefined;
    const isOver = mixEpochs > 0 && step >= mixEpochs * stepsPerEpoch(batchSize, this.count);
    // The inputs stay the same, and the captured step with them.
    return isOver || batch === 1 ? unmixed : drawMix({ seed, step, size, mixes });
  }

  /**
   * The batch of such values, once they lie on the device.
   * @param size side of the images in pixels
   */
  batch(inputs: BatchInputs, size: number): Batch {
    const packed = inputs.packed ? [inputs.packed as tf.Tensor2D] : this.packed;
    const made = augmentedImages(packed, inputs, this.preprocessing, size);
    const first = inputs.labels as tf.Tensor1D;
    const { mix, second, share } = inputs;
    if (!mix) return { images: made, labels: { first } };
    const images = mixBatch(made, mix as tf.Tensor1D);
    made.dispose();
    return {
      images,
      labels: { first, second: second as tf.Tensor1D, share: share as tf.Tensor1D },
    };
  }

  /**
   * The inputs of a part of a batch, so many images from the one at `from` on. New tensors where it
   * is a part of theirs, else the same ones.
   */
  partOf(inputs: BatchInputs, from: number, images: number): BatchInputs {
    const part = { ...inputs };
    for (const [name, input] of Object.entries(inputs)) {
      if (isOfImages(name)) part[name] = tf.slice(input, from, inputs.mix ? images + 1 : images);
      if (rowsOfLabels.includes(name)) part[name] = tf.slice(input, from, images);
    }
    return part;
  }

  /** Frees the images on the device. */
  dispose(): void {
    tf.dispose(this.packed);
    this.stream?.[Symbol.dispose]();
  }
}

/** Steps of an epoch; the last may be a smaller batch. */
export function stepsPerEpoch(batchSize: number, count: number): number {
  return Math.ceil(count / batchSize);
}

/** The order in which an epoch (from 0) visits `count` images. */
export function epochOrder(count: number, seed: number, epoch: number): Int32Array {
  return permutation(count, streamKey(seed, streams.shuffle, epoch));
}

/** The images at a position of an epoch, which counts steps from 0. */
export function batchAt(order: Int32Array, position: number, batchSize: number): Int32Array {
  return order.subarray(position * batchSize, (position + 1) * batchSize);
}

/** Indices of a split in order, up to `to` excluded, `batchSize` at a time; the last may be fewer. */
export function* inOrder(to: number, batchSize: number, from = 0): Generator<Int32Array> {
  for (let start = from; start < to; start += batchSize) {
    const length = Math.min(batchSize, to - start);
    yield Int32Array.from({ length }, (_, i) => start + i);
  }
}
