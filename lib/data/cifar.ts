/**
 * Reader of CIFAR-10 and CIFAR-100 in their official binary form: one record is one or two label
 * bytes and 3,072 bytes of image, the red, green and blue planes of 32x32, row major
 * (https://www.cs.toronto.edu/~kriz/cifar.html).
 */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import { readSmallText } from "../files.ts";
import type { ImageDataset, ImageSplit } from "./dataset.ts";

const side = 32;
const plane = side * side;
const imageBytes = 3 * plane;
const recordsPerRead = 1000;

/** Place of one kind of labels. */
export interface LabelLayout {
  /** Byte of the record. */
  offset: number;
  /** The file with one class name a line. */
  namesFile: string;
  /** Number of classes. */
  classes: number;
}

/** Places of the parts of one of the two data sets. */
export interface CifarLayout {
  /** As `--dataset` names it. */
  name: "cifar10" | "cifar100";
  /** Of the official archive. */
  url: string;
  /** Of the official archive, in hexadecimal. */
  md5: string;
  /** The folder inside the official archive. */
  folder: string;
  /** Record files in their order. */
  trainFiles: readonly string[];
  /** Record files in their order. */
  testFiles: readonly string[];
  /** The kinds of labels; each has a byte in the record. */
  labels: { fine: LabelLayout; coarse?: LabelLayout };
}

/** The two data sets by name. */
export const cifarLayouts: Record<CifarLayout["name"], CifarLayout> = {
  cifar100: {
    name: "cifar100",
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    md5: "03b5dce01913d631647c71ecec9e9cb8",
    folder: "cifar-100-binary",
    trainFiles: ["train.bin"],
    testFiles: ["test.bin"],
    labels: {
      coarse: { offset: 0, namesFile: "coarse_label_names.txt", classes: 20 },
      fine: { offset: 1, namesFile: "fine_label_names.txt", classes: 100 },
    },
  },
  cifar10: {
    name: "cifar10",
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
    folder: "cifar-10-batches-bin",
    trainFiles: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`),
    testFiles: ["test_batch.bin"],
    labels: { fine: { offset: 0, namesFile: "batches.meta.txt", classes: 10 } },
  },
};

/** All files that the data set consists of. */
export function cifarFiles(layout: CifarLayout): string[] {
  return [
    ...layout.trainFiles,
    ...layout.testFiles,
    ...Object.values(layout.labels).map((label: LabelLayout) => label.namesFile),
  ];
}

/**
 * Reads the unpacked `folder`.
 * @param onProgress told the bytes read so far and their total
 * @throws {UserError} naming the file that is missing, has a wrong length, or holds a label out of
 * range.
 */
export async function readCifar(
  folder: string,
  layout: CifarLayout,
  labels: "fine" | "coarse",
  onProgress?: (done: number, total: number) => void,
): Promise<ImageDataset> {
  const used = layout.labels[labels];
  if (!used) {
    throw new UserError(`${layout.name} has no ${labels} labels; choose fine labels.`);
  }
  const all: LabelLayout[] = Object.values(layout.labels);
  const recordBytes = all.length + imageBytes;
  const paths = (names: readonly string[]) => names.map((name) => `${folder}/${name}`);
  const trainPaths = paths(layout.trainFiles);
  const testPaths = paths(layout.testFiles);

  const sizes = new Map<string, number>();
  for (const path of [...trainPaths, ...testPaths]) {
    const size = await sizeOf(path);
    if (size === 0 || size % recordBytes !== 0) {
      throw new UserError(
        `${path} has ${size} bytes, which is no whole number of ${recordBytes}-byte records; ` +
          `it is cut short or not a ${layout.name} file, so delete it and fetch the data again.`,
      );
    }
    sizes.set(path, size);
  }
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);

  const hash = createHash("sha256");
  const wider = labels === "fine" ? layout.labels.coarse : undefined;
  const ofClass = new Array<number>(used.classes).fill(0);
  let done = 0;
  const readSplit = async (splitPaths: string[]): Promise<ImageSplit> => {
    const count = splitPaths.reduce((sum, path) => sum + sizes.get(path)!, 0) / recordBytes;
    const split = {
      images: new Uint8Array(count * imageBytes),
      labels: new Uint8Array(count),
      count,
    };
    let next = 0;
    for (const path of splitPaths) {
      let index = 0;
      for await (const records of readRecords(path, recordBytes)) {
        hash.update(records);
        for (let start = 0; start < records.length; start += recordBytes, index++, next++) {
          for (const { offset, classes } of all) {
            const label = records[start + offset]!;
            if (label >= classes) {
              throw new UserError(
                `${path}: record ${index} has label ${label}, but labels go from 0 to ` +
                  `${classes - 1}; the file is damaged or not a ${layout.name} file.`,
              );
            }
          }
          split.labels[next] = records[start + used.offset]!;
          if (wider) ofClass[split.labels[next]!] = records[start + wider.offset]!;
          interleave(records, start + all.length, split.images, next * imageBytes);
        }
        done += records.length;
        onProgress?.(done, total);
      }
    }
    return split;
  };
  const train = await readSplit(trainPaths);
  const test = await readSplit(testPaths);
  const classNames = await readNames(`${folder}/${used.namesFile}`, used.classes);
  return {
    name: layout.labels.coarse ? `${layout.name} (${labels})` : layout.name,
    height: side,
    width: side,
    channels: 3,
    classNames,
    ...(wider && {
      superclasses: {
        names: await readNames(`${folder}/${wider.namesFile}`, wider.classes),
        ofClass,
      },
    }),
    train,
    test,
    identity: hash.digest("hex"),
  };
}

/** Three planes of a pixel each become pixels of three bytes each. */
function interleave(from: Uint8Array, start: number, to: Uint8Array, at: number): void {
  for (let i = 0; i < plane; i++) {
    const pixel = at + 3 * i;
    to[pixel] = from[start + i]!;
    to[pixel + 1] = from[start + plane + i]!;
    to[pixel + 2] = from[start + 2 * plane + i]!;
  }
}

/** Yields whole records; the bytes are valid until the next turn. */
async function* readRecords(path: string, recordBytes: number): AsyncGenerator<Uint8Array> {
  using file = await reading(path, () => Deno.open(path));
  const buffer = new Uint8Array(recordsPerRead * recordBytes);
  let filled = 0;
  while (true) {
    const read = await reading(path, () => file.read(buffer.subarray(filled)));
    filled += read ?? 0;
    if (filled === buffer.length || (read === null && filled > 0)) {
      yield buffer.subarray(0, filled);
      filled = 0;
    }
    if (read === null) return;
  }
}

async function readNames(path: string, classes: number): Promise<string[]> {
  await sizeOf(path);
  const text = await reading(path, () => readSmallText(path));
  const names = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (names.length !== classes) {
    throw new UserError(`${path} names ${names.length} classes, but there must be ${classes}.`);
  }
  return names;
}

/** Only a regular file has a size: a device or a pipe would be read without end. */
async function sizeOf(path: string): Promise<number> {
  const { isFile, size } = await reading(path, () => Deno.stat(path));
  if (isFile) return size;
  throw new UserError(`${path} is not a regular file; unpack the whole archive again.`);
}

async function reading<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      error instanceof Deno.errors.NotFound
        ? `${path} is missing; unpack the whole archive, or leave --data out to have it fetched.`
        : `${path} cannot be read: ${(error as Error).message}.`,
      { cause: error },
    );
  }
}
