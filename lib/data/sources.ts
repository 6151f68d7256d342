/**
 * The data sets by name, and the kinds of sources of a person's own pictures. The tables' keys are the
 * words of `--dataset` and of the field `dataset`: `cifar100`, `folder:PATH`.
 */
import { cifarFiles, type CifarLayout, cifarLayouts, readCifar } from "./cifar.ts";
import type { ImageDataset } from "./dataset.ts";
import { imageFolder } from "./image_folder.ts";
import { parquetImages } from "./parquet_images.ts";
import type { PictureSource } from "./picture_set.ts";
import { createShapes, shapesClassNames } from "./shapes.ts";

/** The kinds of labels that a data set may have. */
export const labelKinds = ["fine", "coarse"] as const;

/** @internal */
type LabelKinds = typeof labelKinds;

/** Kind of labels: `fine`, or the fewer `coarse` ones that CIFAR-100 has as well. */
export type LabelKind = LabelKinds[number];

/** Number of classes by kind of labels; a kind that is absent does not exist. */
export type Classes = { fine: number } & Partial<Record<LabelKind, number>>;

/** A data set that is computed, so that there is nothing to fetch. */
export interface GeneratedSource {
  isGenerated: true;
  classes: Classes;
  make(): ImageDataset;
}

/** A data set that an archive holds. */
export interface ArchiveSource {
  isGenerated: false;
  classes: Classes;
  /** Of the official archive. */
  url: string;
  /** Of the official archive, in hexadecimal. */
  md5: string;
  /** The folder inside the official archive. */
  folder: string;
  /** The files that it consists of. */
  files: readonly string[];
  /**
   * Reads the unpacked folder.
   * @param onProgress told the bytes read so far and their total
   * @throws {UserError} naming the file that is wrong.
   */
  read(
    folder: string,
    labels: LabelKind,
    onProgress?: (done: number, total: number) => void,
  ): Promise<ImageDataset>;
}

/** Source of a data set. */
export type DataSource = GeneratedSource | ArchiveSource;

/** The data sets by name. */
export const sources = {
  cifar100: cifarSource(cifarLayouts.cifar100),
  cifar10: cifarSource(cifarLayouts.cifar10),
  shapes: { isGenerated: true, classes: { fine: shapesClassNames.length }, make: createShapes },
} satisfies Record<string, DataSource>;

/** @internal */
type Sources = typeof sources;

/** A data set's name. */
export type DatasetName = keyof Sources;

/** The names in the table's order. */
export const datasetNames = Object.keys(sources) as DatasetName[];

/** The kinds of pictures at a path; a kind's key, a colon and the path name a data set. */
export const pictureSources = {
  folder: imageFolder,
  parquet: parquetImages,
} satisfies Record<string, PictureSource>;

/** @internal */
type PictureSources = typeof pictureSources;

/** A kind of pictures at a path. */
export type PictureKind = keyof PictureSources;

/** What the field `dataset` may be. */
export type DatasetWord = DatasetName | `${PictureKind}:${string}`;

/** What {@linkcode DatasetWord} may be, for people and for patterns. */
export const datasetWords = [
  ...datasetNames,
  ...Object.keys(pictureSources).map((kind) => `${kind}:PATH`),
];

/** The source and the path of `KIND:PATH`; undefined for any other text. */
export function pictureSourceOf(word: string): { source: PictureSource; path: string } | undefined {
  const colon = word.indexOf(":");
  const kind = word.slice(0, Math.max(0, colon));
  if (!Object.hasOwn(pictureSources, kind)) return undefined;
  return { source: pictureSources[kind as PictureKind], path: word.slice(colon + 1) };
}

function cifarSource(layout: CifarLayout): ArchiveSource {
  const { url, md5, folder, labels: { fine, coarse } } = layout;
  return {
    ...{ isGenerated: false, url, md5, folder, files: cifarFiles(layout) },
    classes: { fine: fine.classes, ...(coarse && { coarse: coarse.classes }) },
    read: (folder, labels, onProgress) => readCifar(folder, layout, labels, onProgress),
  };
}
