import { tf } from "../tfjs.ts";
import { resizeImage } from "../data/image/resize.ts";
import type { RgbImage } from "../data/image/rgb_image.ts";
import { type InputValues, Repeated } from "../capture/repeated.ts";
import { augmentBatch, packedWords } from "../kernels/augment_batch/augment_batch.ts";
import { inOrder, type Preprocessing } from "./batches.ts";

/** Images of one pass through the model, so that any number of files fits the device. */
const BATCH = 32;

/** One guess. */
export interface Prediction {
  classIndex: number;
  className: string;
  /** 0..1; the softmax of the logits. */
  probability: number;
}

/** What a checkpoint tells about the model's input and output. */
export interface PredictionContext {
  preprocessing: Preprocessing;
  /** In the order of the logits. */
  classNames: string[];
}

/**
 * Classifies images of any size.
 *
 * An image is first brought to the size of the data set's images (antialiased, aspect ratio not
 * kept), then prepared as evaluation does it: the model has seen nothing sharper.
 * @returns for each image its `count` likeliest classes, the likeliest first
 */
export async function predictImages(
  model: tf.LayersModel,
  images: RgbImage[],
  { preprocessing, classNames }: PredictionContext,
  count = 5,
): Promise<Prediction[][]> {
  const size = model.inputs[0]!.shape[1]!;
  const probabilities = new Repeated(({ packed }) => {
    const indices = tf.range(0, packed!.shape[0]!, 1, "int32");
    const options = { ...preprocessing, size };
    const batch = augmentBatch(packed as tf.Tensor2D, indices, null, options);
    return tf.softmax(model.apply(batch, { training: false }) as tf.Tensor2D);
  });
  const predictions: Prediction[][] = [];
  try {
    for (const records of inOrder(images.length, BATCH)) {
      const batch = images.slice(records[0], records[0]! + records.length);
      const values = await probabilities.run({ packed: packedImages(batch, preprocessing) });
      const classes = values.length / batch.length;
      batch.forEach((_, i) => {
        const row = values.subarray(i * classes, (i + 1) * classes);
        const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
        predictions.push(
          order.slice(0, count).map((classIndex) => ({
            classIndex,
            className: classNames[classIndex] ?? `class ${classIndex}`,
            probability: row[classIndex]!,
          })),
        );
      });
    }
  } finally {
    probabilities.dispose();
  }
  return predictions;
}

/** The images in the data set's size, as the device takes them: `[images, words]`. */
function packedImages(
  images: RgbImage[],
  { height, width, channels }: Preprocessing,
): InputValues {
  const stride = height * width * channels;
  const bytes = new Uint8Array(images.length * stride);
  images.forEach((image, index) => bytes.set(resizeImage(image, width).data, index * stride));
  const shape = [images.length, Math.ceil(stride / 4)] as [number, number];
  return { shape, values: packedWords(bytes, ...shape) };
}
