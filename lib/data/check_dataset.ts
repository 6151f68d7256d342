import { assertWhole } from "../checks.ts";
import { UserError } from "../errors.ts";
import type { ImageDataset, ImageSplit } from "./dataset.ts";

/**
 * Asserts that a data set is what it says it is: as many bytes and labels as images, labels of its
 * classes.
 * @throws {UserError} naming the first thing that is wrong
 */
export function assertDataset(dataset: ImageDataset): void {
  const { name, height, width, channels, classNames } = dataset;
  assertWhole(`height of ${name}`, height, 1, 1 << 16);
  assertWhole(`width of ${name}`, width, 1, 1 << 16);
  assertWhole(`channels of ${name}`, channels, 1, 4);
  if (classNames.length < 2) {
    throw new UserError(
      `${name} has ${classNames.length} classes; a classifier needs two or more.`,
    );
  }
  const twice = classNames.find((each, i) => classNames.indexOf(each) !== i);
  if (twice !== undefined) {
    throw new UserError(`${name} has two classes of the name ${JSON.stringify(twice)}.`);
  }
  assertSplit(`The train split of ${name}`, dataset.train, dataset);
  if (dataset.validation) {
    assertSplit(`The validation split of ${name}`, dataset.validation, dataset);
  }
  assertSplit(`The test split of ${name}`, dataset.test, dataset);
}

function assertSplit(
  what: string,
  { images, streamed, labels, count }: ImageSplit,
  { height, width, channels, classNames }: ImageDataset,
): void {
  assertWhole(`count of ${what.toLowerCase()}`, count, 0);
  const bytes = count * height * width * channels;
  if (!streamed && images.length !== bytes) {
    throw new UserError(
      `${what} has ${images.length} bytes, but ${count} images of ` +
        `${height}x${width}x${channels} take ${bytes}.`,
    );
  }
  if (labels.length !== count) {
    throw new UserError(`${what} has ${labels.length} labels for ${count} images.`);
  }
  for (let i = 0; i < count; i++) {
    const label = labels[i]!;
    if (label >= 0 && label < classNames.length && Number.isInteger(label)) continue;
    throw new UserError(
      `${what} has label ${label} at image ${i}, but its ${classNames.length} classes have labels ` +
        `from 0 to ${classNames.length - 1}.`,
    );
  }
}
