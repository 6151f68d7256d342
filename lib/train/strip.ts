/** A strip of training images as the model sees them: augmented, and mixed where they are. */
import { tensorsOf } from "../capture/repeated.ts";
import type { Progress } from "../checkpoint/progress.ts";
import type { RunConfig } from "../config/run.ts";
import type { ImageDataset } from "../data/dataset.ts";
import type { Picture } from "../report/patches.ts";
import { tf } from "../tfjs.ts";
import { batchAt, DeviceSplit, epochOrder, stepsPerEpoch } from "./batches.ts";
import { splitDataset } from "./device_dataset.ts";
import { picturesOf, subset } from "./pictures_of_split.ts";

/** Images of a strip, and the pixels between them. */
const mostImages = 12;
const gap = 2;

/**
 * The first images of the step that comes next, side by side; what is erased is grey. They are those
 * that the step itself makes, as their random numbers depend on the step and their place alone.
 */
export async function trainingStrip(
  dataset: ImageDataset,
  config: RunConfig,
  { step, epoch, positionInEpoch }: Pick<Progress, "step" | "epoch" | "positionInEpoch">,
): Promise<Picture> {
  const { train } = splitDataset(dataset, config);
  const { seed, batchSize, imageSize, channels } = config;
  // An epoch that waits for its validation has no next batch.
  const isOver = positionInEpoch >= stepsPerEpoch(batchSize, train.count);
  const order = epochOrder(train.count, seed, isOver ? epoch + 1 : epoch);
  const batch = batchAt(order, isOver ? 0 : positionInEpoch, batchSize);
  // One more, since each is mixed with the one after it.
  const few = subset(train, batch.subarray(0, mostImages + 1));
  // Erased values are 0 after normalization, so that the mean is the grey that is shown.
  const statistics = {
    mean: Array<number>(channels).fill(128),
    variance: Array<number>(channels).fill(1),
  };
  const { height, width } = dataset;
  const split = new DeviceSplit(few.images, { height, width, channels, ...statistics });
  try {
    await split.ready(few.indices);
    const values = split.trainingValues(few.indices, config, step);
    const images = tf.tidy(() => {
      const inputs = tensorsOf<Record<string, tf.Tensor>>(values);
      return split.batch(inputs, imageSize).images;
    });
    const pixels = await images.data<"float32">();
    images.dispose();
    const pictures = picturesOf(pixels, { imageSize, channels }, statistics);
    return sideBySide(pictures.slice(0, mostImages));
  } finally {
    split.dispose();
  }
}

function sideBySide(pictures: readonly Picture[]): Picture {
  const { width: side, height, channels } = pictures[0]!;
  const width = pictures.length * (side + gap) - gap;
  const data = new Uint8Array(width * height * channels).fill(255);
  pictures.forEach((picture, i) => {
    for (let y = 0; y < height; y++) {
      const row = picture.data.subarray(y * side * channels, (y + 1) * side * channels);
      data.set(row, (y * width + i * (side + gap)) * channels);
    }
  });
  return { width, height, channels, data };
}
