import { createHash } from "node:crypto";
import { assertNumber, assertWhole } from "../checks.ts";
import { UserError } from "../errors.ts";
import { assertDataset } from "./check_dataset.ts";
import { type ImageDataset, type ImageSplit, labelsFor } from "./dataset.ts";
import { defaultShares } from "./open_pictures.ts";
import { drawSplits, type Shares } from "./stratified.ts";

/** Images and their labels, as {@linkcode createDataset} takes them. */
export interface ArrayImages {
  /** `[count, height, width, channels]` bytes, channels last. */
  images: Uint8Array;
  /** `[count]` class indices, whole numbers from 0. */
  labels: ArrayLike<number>;
}

/** What {@linkcode createDataset} makes a data set of. */
export interface ArrayDataset extends ArrayImages, Partial<Shares> {
  /** For a person; `images` by default. */
  name?: string;
  /** Of an image, in pixels. */
  height: number;
  /** Of an image, in pixels. */
  width: number;
  /** Bytes of a pixel, 1 to 4. */
  channels: number;
  /** The name of each class, by label. */
  classNames: string[];
  /** What is held out; by default `validationSplit` of each class is drawn from `images`. */
  validation?: ArrayImages;
  /** What is kept for the end; by default `testSplit` of each class is drawn from `images`. */
  test?: ArrayImages;
}

/**
 * Makes a data set of arrays. Splits that are not given are drawn with the seed, of each class its
 * share, so the order of the images decides nothing; the bytes are copied.
 *
 * @throws {UserError} when there are not as many bytes and labels as images, or a label is of no class
 *
 * @example
 * ```ts
 * import { createDataset } from "../../mod.ts";
 *
 * const labels = Array.from({ length: 40 }, (_, i) => i % 2);
 * const images = Uint8Array.from({ length: 40 * 8 * 8 }, (_, i) => labels[i >> 6]! * 200 + i % 50);
 * const classNames = ["dark", "light"];
 * const dataset = createDataset({ images, height: 8, width: 8, channels: 1, labels, classNames });
 * console.log(dataset.train.count, dataset.validation!.count, dataset.test.count); // 32 4 4
 * ```
 */
export function createDataset(given: ArrayDataset): ImageDataset {
  const { name = "images", height, width, channels, classNames } = given;
  for (const [field, side] of Object.entries({ height, width })) assertWhole(field, side, 1, 4096);
  assertWhole("channels", channels, 1, 4);
  const shares = { ...defaultShares };
  for (const field of ["seed", "validationSplit", "testSplit"] as const) {
    shares[field] = given[field] ?? shares[field];
  }
  assertWhole("seed", shares.seed, 0, 2 ** 31 - 1);
  assertNumber("validationSplit", shares.validationSplit, { least: 0, below: 1 });
  assertNumber("testSplit", shares.testSplit, { least: 0, below: 1 });

  const bytes = height * width * channels;
  const parts = [given, given.validation, given.test].filter((part) => part !== undefined);
  for (const { images, labels } of parts) {
    if (images.length === labels.length * bytes) continue;
    throw new UserError(
      `${images.length} bytes are not ${labels.length} images of ${height}x${width}x${channels}, ` +
        `one a label.`,
    );
  }
  const labels = parts.flatMap(({ labels }) => Array.from(labels));
  const wrong = labels.find((label) =>
    !Number.isInteger(label) || label < 0 || label >= classNames.length
  );
  if (wrong !== undefined) {
    throw new UserError(
      `There is a label ${wrong}, but ${classNames.length} classes have labels from 0 to ` +
        `${classNames.length - 1}.`,
    );
  }
  const counts = {
    train: given.labels.length,
    validation: given.validation?.labels.length,
    test: given.test?.labels.length,
  };
  const imageAt = (index: number) => {
    let at = index;
    for (const { images, labels } of parts) {
      if (at < labels.length) return images.subarray(at * bytes, (at + 1) * bytes);
      at -= labels.length;
    }
    throw new RangeError(`There is no image ${index}`);
  };
  const hash = createHash("sha256");
  const splitOf = (indices: Int32Array): ImageSplit => {
    const images = new Uint8Array(indices.length * bytes);
    indices.forEach((index, i) => images.set(imageAt(index), i * bytes));
    const own = labelsFor(classNames.length, indices.map((index) => labels[index]!));
    hash.update(`${own.length}`).update(images).update(Int32Array.from(own));
    return { images, labels: own, count: indices.length };
  };
  const { train, validation, test } = drawSplits(labels, counts, shares);
  const dataset: ImageDataset = {
    ...{ name, height, width, channels, classNames },
    ...{ train: splitOf(train), validation: splitOf(validation), test: splitOf(test) },
    identity: hash.digest("hex"),
  };
  assertDataset(dataset);
  return dataset;
}
