import { tf } from "../tfjs.ts";
import { resizeImage, type RgbImage } from "../data/image_file.ts";
import { DeviceSplit, type Preprocessing } from "./batches.ts";

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
  const { height, width, channels } = preprocessing;
  const bytes = new Uint8Array(images.length * height * width * channels);
  images.forEach((image, index) => {
    bytes.set(resizeImage(image, width).data, index * height * width * channels);
  });
  const labels = new Uint8Array(images.length);
  const split = new DeviceSplit({ images: bytes, labels, count: images.length }, preprocessing);
  const probabilities = tf.tidy(() => {
    const records = Int32Array.from(images, (_, i) => i);
    const batch = split.evaluationBatch(records, model.inputs[0]!.shape[1]!);
    return tf.softmax(model.apply(batch.images, { training: false }) as tf.Tensor2D);
  });
  split.dispose();
  const classes = probabilities.shape[1]!;
  const values = await probabilities.data<"float32">();
  probabilities.dispose();
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
