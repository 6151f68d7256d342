import { tf } from "../tfjs.ts";
import { assertWhole } from "../checks.ts";
import { inPrecision, type Precision } from "../backend/precision.ts";
import { fitImage } from "../data/image/fit.ts";
import type { RgbImage } from "../data/image/rgb_image.ts";
import type { Preprocessing } from "../data/preprocessing.ts";
import { UserError } from "../errors.ts";
import { type InputValues, Repeated } from "../capture/repeated.ts";
import { augmentBatch, packedWords } from "../kernels/augment_batch/augment_batch.ts";
import { checkPrecision } from "./precision.ts";

/** Images of one pass through the model, so that any number of files fits the device. */
export const imagesAtOnce = 32;

/** One guess. */
export interface Prediction {
  /** Index of the logit, from 0. */
  classIndex: number;
  /** Its name; `class N` where there is none. */
  className: string;
  /** 0..1; the softmax of the logits. */
  probability: number;
}

/** Description of a model's input and output; a loaded run is one. */
export interface PredictionContext {
  /** As the run has it. */
  preprocessing: Preprocessing;
  /** In the order of the logits. */
  classNames: readonly string[];
  /** What the large tensors of a pass are stored as, on webgpu; f32 by default. */
  precision?: Precision;
}

/**
 * Classifies images of any size.
 *
 * An image is first brought to the size of the data set's images (antialiased, cropped or squashed
 * as those were), then prepared as evaluation does it: the model has seen nothing sharper.
 * @throws {UserError} when an image is not what it says it is, or the device has not the precision
 * @returns for each image its `count` likeliest classes, the likeliest first
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, predictImages, preset } from "../../mod.ts";
 * import { readImageFile, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const model = createViTClassifier(modelConfigOf({ ...preset("tiny"), numClasses: 2 }));
 * const [mean, variance] = [[0, 0, 0], [1, 1, 1]];
 * const preprocessing = { height: 32, width: 32, channels: 3, mean, variance };
 * const images = [await readImageFile("docs/images/patches.png")];
 * const [guesses] = await predictImages(model, images, { preprocessing, classNames: ["a", "b"] });
 * console.log(guesses!.length); // 2
 * ```
 */
export async function predictImages(
  model: tf.LayersModel,
  images: RgbImage[],
  context: PredictionContext,
  count = 5,
): Promise<Prediction[][]> {
  assertWhole("count", count, 1);
  images.forEach(assertImage);
  using classifier = new Classifier(model, context);
  const predictions: Prediction[][] = [];
  for (let first = 0; first < images.length; first += imagesAtOnce) {
    const batch = images.slice(first, first + imagesAtOnce);
    predictions.push(
      ...await classifier.classify(batch.map((image) => classifier.prepared(image)), count),
    );
  }
  return predictions;
}

/** A model that classifies batch after batch, whatever it is shown. Owns a capture on the device. */
export class Classifier implements Disposable {
  private readonly probabilities: Repeated<{ packed: tf.Tensor2D }, tf.Tensor>;
  /** Side in pixels of the model's input. */
  private readonly inputSize: number;

  /** @throws {UserError} when the device has not the context's precision */
  constructor(model: tf.LayersModel, private readonly context: PredictionContext) {
    this.inputSize = model.inputs[0]!.shape[1]!;
    const { precision = "f32" } = context;
    checkPrecision(precision);
    this.probabilities = new Repeated(({ packed }: { packed: tf.Tensor2D }) =>
      inPrecision(precision, () => {
        const logits = model.apply(this.inputOf(packed), { training: false });
        return tf.softmax(logits as tf.Tensor2D);
      })
    );
  }

  /** Side in pixels of the data set's images. */
  get size(): number {
    return this.context.preprocessing.width;
  }

  /** An image of any size in that of the data set's images: a few kilobytes that may be kept. */
  prepared(image: RgbImage): Uint8Array {
    const { fit = "squash", ...form } = this.context.preprocessing;
    return fitImage(image, this.size, { ...form, fit }).data;
  }

  /**
   * Model input of images.
   * @param images as {@linkcode Classifier.prepared} gives them
   * @returns float32 `[images, imageSize, imageSize, channels]`, normalized
   */
  input(images: readonly Uint8Array[]): tf.Tensor4D {
    const { shape, values } = packedImages(images, this.context.preprocessing);
    return tf.tidy(() => this.inputOf(tf.tensor(values, shape, "int32")));
  }

  private inputOf(packed: tf.Tensor): tf.Tensor4D {
    const indices = tf.range(0, packed.shape[0]!, 1, "int32");
    const options = { ...this.context.preprocessing, size: this.inputSize };
    return augmentBatch(packed as tf.Tensor2D, indices, null, options);
  }

  /**
   * Classifies images in one pass through the model.
   * @param images as {@linkcode Classifier.prepared} gives them
   * @returns for each image its `count` likeliest classes, the likeliest first
   */
  async classify(images: readonly Uint8Array[], count: number): Promise<Prediction[][]> {
    const { preprocessing, classNames } = this.context;
    const values = await this.probabilities.read({ packed: packedImages(images, preprocessing) });
    const classes = values.length / images.length;
    return images.map((_, i) => {
      const row = values.subarray(i * classes, (i + 1) * classes);
      const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
      return order.slice(0, count).map((classIndex) => ({
        classIndex,
        className: classNames[classIndex] ?? `class ${classIndex}`,
        probability: row[classIndex]!,
      }));
    });
  }

  /** Frees what lies on the device. */
  [Symbol.dispose](): void {
    this.probabilities.dispose();
  }
}

/** @throws {UserError} when an image is not what it says it is. */
function assertImage({ width, height, channels, data }: RgbImage, index: number): void {
  assertWhole(`width of image ${index}`, width, 1);
  assertWhole(`height of image ${index}`, height, 1);
  assertWhole(`channels of image ${index}`, channels, 3, 3);
  if (data.length === width * height * 3) return;
  throw new UserError(
    `Image ${index} has ${data.length} bytes, but ${width}x${height} pixels of 3 channels take ` +
      `${width * height * 3}.`,
  );
}

/** The images as the device takes them: `[images, words]`. */
function packedImages(
  images: readonly Uint8Array[],
  { height, width, channels }: Preprocessing,
): InputValues {
  const stride = height * width * channels;
  const bytes = new Uint8Array(images.length * stride);
  images.forEach((image, index) => bytes.set(image, index * stride));
  const shape = [images.length, Math.ceil(stride / 4)] as [number, number];
  return { shape, values: packedWords(bytes, ...shape) };
}
