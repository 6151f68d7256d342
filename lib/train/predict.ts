import { tf } from "../tfjs.ts";
import { resizeImage, type RgbImage } from "../data/image_file.ts";
import { withGpuCheck } from "../backend/device.ts";
import { DeviceSplit, inOrder, type Preprocessing } from "./batches.ts";

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
  const predictions: Prediction[][] = [];
  for (const records of inOrder(images.length, BATCH)) {
    const batch = images.slice(records[0], records[0]! + records.length);
    const values = await probabilitiesOf(model, batch, preprocessing);
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
  return predictions;
}

/** float32 `[images, classes]`, each row's sum 1. */
async function probabilitiesOf(
  model: tf.LayersModel,
  images: RgbImage[],
  preprocessing: Preprocessing,
): Promise<Float32Array> {
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
  try {
    return await withGpuCheck(() => probabilities.data<"float32">());
  } finally {
    probabilities.dispose();
  }
}
