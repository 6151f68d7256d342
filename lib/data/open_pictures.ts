/** From pictures of a source, whatever its kind, to a data set: prepared, split, in memory. */
import { createHash } from "node:crypto";
import { assertNumber, assertWhole } from "../checks.ts";
import { UserError } from "../errors.ts";
import { type ImageDataset, type ImageSplit, labelsFor } from "./dataset.ts";
import { type Fit, shortForm } from "./image/fit.ts";
import type { ResizeOptions } from "./image/resize.ts";
import { listed, type PictureSet, type StoredForm } from "./picture_set.ts";
import { prepare, type Prepared } from "./prepared/prepare.ts";
import { recordIndex, streamed } from "./prepared/record_stream.ts";
import { readRecords } from "./prepared/shard.ts";
import type { DataProgress } from "./progress.ts";
import { type DrawnSplits, drawSplits, type Shares } from "./stratified.ts";

/** How the pictures of a folder or of Parquet files are read, stored and split. */
export interface PictureOptions extends Partial<Shares>, ResizeOptions {
  /** Side of the model's input in pixels, 32 by default; decides the stored size where that is 0. */
  imageSize?: number;
  /**
   * Side of the stored square in pixels. 0, the default, stands for `imageSize` where pictures are
   * squashed or resized by a rule of pretrained weights (bicubic, or only a share of them kept), and
   * for a quarter more, up to a multiple of 8, where they are cropped: room for what crops and zooms
   * in training.
   */
  storedSize?: number;
  /** `crop` by default. */
  fit?: Fit;
  /** What becomes of pictures that cannot be read: `skip`, the default, or `stop`. */
  onBroken?: "skip" | "stop";
  /** How many records of each split a run will use; 0, the default, means all. */
  limit?: number;
  /**
   * Bytes of all records up to which they are held in memory, and by `DeviceDataset` on the device;
   * of more, each batch is read from disk while the one before is computed. No limit by default.
   * Decides no number of a training.
   */
  deviceData?: number;
  /** Where what is prepared is kept; `data/prepared` by default. */
  preparedRoot?: string;
  /** How many decode at a time; as many as there are processors by default. */
  workers?: number;
  /** Told how far things are. */
  onProgress?: (progress: DataProgress) => void;
  /** Told, in a sentence each, what a person should know: classes, what was skipped or is broken. */
  onNotice?: (text: string) => void;
}

/** Shares of each class and a seed, where nothing else is asked for. */
export const defaultShares: Shares = { seed: 42, validationSplit: 0.1, testSplit: 0.1 };

/**
 * The side at which pictures are stored.
 * @param storedSize 0 for the one that suits
 */
export function storedForm(
  { imageSize = 32, storedSize = 0, fit = "crop", resample, cropShare = 1 }: PictureOptions,
): StoredForm {
  assertNumber("cropShare", cropShare, { least: Number.MIN_VALUE, most: 1 });
  assertWhole("imageSize", imageSize, 1, 4096);
  assertWhole("storedSize", storedSize, 0, 4096);
  const form = shortForm({ fit, resample, cropShare });
  if (storedSize > 0) return { size: storedSize, ...form };
  const isExact = fit === "squash" || Object.keys(form).length > 1;
  return { size: isExact ? imageSize : Math.ceil((imageSize * 1.25) / 8) * 8, ...form };
}

/**
 * Opens pictures as a data set.
 * @throws {UserError} if they cannot be prepared, or a class has none that can be read.
 */
export async function openPictures(
  set: PictureSet,
  options: PictureOptions,
): Promise<ImageDataset> {
  const { preparedRoot = "data/prepared", onProgress, onNotice } = options;
  const shares = { ...defaultShares, ...given(options) };
  assertNumber("validationSplit", shares.validationSplit, { least: 0, below: 1 });
  assertNumber("testSplit", shares.testSplit, { least: 0, below: 1 });
  const form = storedForm(options);
  const { size, ...pictureForm } = form;
  for (const notice of set.notices) onNotice?.(notice);
  const prepared = await prepare(set, {
    ...{ root: preparedRoot, form, onNotice, onBroken: options.onBroken, workers: options.workers },
    onProgress: (progress) => onProgress?.({ stage: "prepare", source: set.name, ...progress }),
  });
  const labels = recordLabels(set, prepared);
  const splits = drawSplits(labels, set.counts, shares);
  const dataset: ImageDataset = {
    name: set.name,
    ...{ height: size, width: size, channels: 3 },
    ...pictureForm,
    classNames: set.classNames,
    ...await readSplits(prepared, form, labels, set.classNames.length, splits, options),
    identity: identityOf(set, form, prepared, splits),
  };
  for (const notice of described(set, dataset)) onNotice?.(notice);
  return dataset;
}

function given({ seed, validationSplit, testSplit }: PictureOptions): Partial<Shares> {
  const entries = Object.entries({ seed, validationSplit, testSplit });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** The label of each picture; -1 of the broken ones. */
function recordLabels(set: PictureSet, { shards, broken }: Prepared): Int32Array {
  const labels = Int32Array.from(shards.flatMap((shard) => shard.labels));
  const train = labels.slice(0, set.counts.train);
  for (const { first, broken } of shards) for (const [at] of broken) labels[first + at] = -1;
  const readable = new Set(labels.subarray(0, set.counts.train));
  for (const [label, name] of set.classNames.entries()) {
    if (readable.has(label)) continue;
    const count = train.filter((each) => each === label).length;
    if (count === 0) {
      throw new UserError(`${set.name} has no train picture of the class ${JSON.stringify(name)}.`);
    }
    const first = shards.flatMap((shard) =>
      shard.broken.filter(([at]) => shard.labels[at] === label)
    )[0]!;
    throw new UserError(
      `None of the ${count} pictures of the class ${JSON.stringify(name)} can be read, the first ` +
        `of ${broken.size}: ${first[2].replace(/\.$/, "")}; mend them or remove the class.`,
    );
  }
  return labels;
}

type Splits = Record<keyof DrawnSplits, ImageSplit>;

/** The splits in memory, or in their shards where they are too large for that. */
async function readSplits(
  prepared: Prepared,
  form: StoredForm,
  labels: Int32Array,
  classes: number,
  splits: DrawnSplits,
  { deviceData = Infinity, limit = 0, onNotice }: PictureOptions,
): Promise<Splits> {
  assertWhole("limit", limit, 0);
  const count = splits.train.length + splits.validation.length + splits.test.length;
  const bytes = count * form.size ** 2 * 3;
  const shown = (bytes: number) => `${Math.max(1, Math.round(bytes / 1e6))} MB`;
  const budget = `${shown(bytes)}, with ${shown(deviceData)} for data (--device-data)`;
  if (bytes <= deviceData) {
    if (deviceData < Infinity) onNotice?.(`The images stay on the device: ${budget}.`);
    return await gather(prepared, form, labels, classes, splits);
  }
  onNotice?.(`The images are read batch by batch from ${prepared.folder}: ${budget}.`);
  const index = recordIndex(prepared.shards, form.size);
  const split = async (indices: Int32Array): Promise<ImageSplit> => ({
    images: new Uint8Array(),
    streamed: await streamed(index, indices, limit || indices.length),
    labels: labelsFor(classes, indices.map((each) => labels[each]!)),
    count: indices.length,
  });
  const { train, validation, test } = splits;
  return {
    train: await split(train),
    validation: await split(validation),
    test: await split(test),
  };
}

/** The records of each split, in its order. */
async function gather(
  { shards }: Prepared,
  { size }: StoredForm,
  labels: Int32Array,
  classes: number,
  splits: DrawnSplits,
): Promise<Splits> {
  const record = size * size * 3;
  const places: { images: Uint8Array; at: number }[] = new Array(labels.length);
  const filled = (indices: Int32Array): ImageSplit => {
    const count = indices.length;
    const images = allocated(count, record);
    indices.forEach((index, i) => places[index] = { images, at: i * record });
    return { images, labels: labelsFor(classes, indices.map((index) => labels[index]!)), count };
  };
  const { train, validation, test } = splits;
  const result = { train: filled(train), validation: filled(validation), test: filled(test) };
  for (const shard of shards) {
    await readRecords(
      shard,
      (index, pixels) => places[index]!.images.set(pixels, places[index]!.at),
    );
  }
  return result;
}

function allocated(count: number, record: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(count * record);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(
      `${count} pictures of ${record} bytes do not fit into memory; give a smaller --stored-size ` +
        `or fewer pictures.`,
      { cause: error },
    );
  }
}

/** The same wherever the pictures lie and whenever they were prepared. */
function identityOf(
  { classNames }: PictureSet,
  form: StoredForm,
  { shards }: Prepared,
  { train, validation, test }: DrawnSplits,
): string {
  const hash = createHash("sha256").update(JSON.stringify([classNames, form]));
  for (const { sha256 } of shards) hash.update(sha256);
  for (const split of [train, validation, test]) {
    hash.update(`${split.length}`).update(new Uint8Array(split.buffer));
  }
  return hash.digest("hex");
}

/** Classes and their balance, a sentence each. */
function* described(set: PictureSet, { classNames, train, validation, test }: ImageDataset) {
  const per = (split: ImageSplit) => {
    const counts = new Array<number>(classNames.length).fill(0);
    for (const label of split.labels) counts[label]!++;
    return counts;
  };
  const counts = per(train);
  const fewest = counts.indexOf(Math.min(...counts));
  const most = counts.indexOf(Math.max(...counts));
  const balance = counts[fewest] === counts[most]
    ? `${counts[most]} of each class to train on`
    : `from ${counts[fewest]} (${classNames[fewest]}) to ${counts[most]} (${
      classNames[most]
    }) of a ` +
      `class to train on`;
  yield `${set.name}: ${train.count} train, ${
    validation!.count
  } validation and ${test.count} test ` +
    `pictures; ${balance}.`;
  yield `${classNames.length} classes: ${
    listed(classNames.map((name, label) => `${label} = ${name}`), 20)
  }.`;
  for (const [split, name] of [[validation!, "validation"], [test, "test"]] as const) {
    // What the source gives is described when it is read.
    if (set.counts[name] !== undefined || split.count === 0) continue;
    const lacking = classNames.filter((_, label) => per(split)[label] === 0);
    if (lacking.length === 0) continue;
    yield `Too few pictures of ${listed(lacking)} to hold out one for ${name}.`;
  }
}
