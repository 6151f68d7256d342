/** Opening a person's own pictures as data sets. */
import type { ImageDataset } from "./dataset.ts";
import { imageFolder } from "./image_folder.ts";
import { openPictures, type PictureOptions } from "./open_pictures.ts";
import { parquetImages } from "./parquet_images.ts";
import type { PictureSource } from "./picture_set.ts";

/**
 * Opens a folder of pictures: one folder a class, either under `train/`, `val/` and `test/`, or one
 * tree, of which a share of each class is drawn for validation and test. What is decoded is kept
 * under `preparedRoot`, from which the next opening reads.
 *
 * @throws {UserError} if there are no pictures in folders of classes, or a class has none that can
 * be read
 *
 * @example
 * ```ts
 * import { openImageFolder } from "../../mod.ts";
 *
 * const photos = new URL("../../tests/data/photos", import.meta.url).pathname;
 * const preparedRoot = await Deno.makeTempDir();
 * const dataset = await openImageFolder(photos, { imageSize: 32, preparedRoot });
 * console.log(dataset.classNames, dataset.train.count); // [ "disc", "square" ] 6
 * ```
 */
export function openImageFolder(path: string, options: PictureOptions = {}): Promise<ImageDataset> {
  return open(imageFolder, path, options);
}

/**
 * Opens pictures in Parquet files, as Hugging Face keeps image data sets: a column `image`, a struct
 * of `bytes` and `path`, and a column `label` of whole numbers, with the names of the classes in the
 * metadata. Of a folder, files are split by their names (`train-…`, `validation-…`, `test-…`); what
 * has no files of its own is drawn from the train rows. Otherwise as {@linkcode openImageFolder}.
 *
 * @param path of a file or of a folder of files
 * @throws {UserError} if a file is cut short, of another schema, or has labels that are no classes
 *
 * @example
 * ```ts
 * import { openParquet } from "../../mod.ts";
 *
 * const file = new URL("../../tests/data/photos.parquet", import.meta.url).pathname;
 * const preparedRoot = await Deno.makeTempDir();
 * const dataset = await openParquet(file, { imageSize: 32, preparedRoot });
 * console.log(dataset.classNames, dataset.train.count); // [ "disc", "square" ] 6
 * ```
 */
export function openParquet(path: string, options: PictureOptions = {}): Promise<ImageDataset> {
  return open(parquetImages, path, options);
}

async function open(
  source: PictureSource,
  path: string,
  options: PictureOptions,
): Promise<ImageDataset> {
  const { onProgress } = options;
  const set = await source.open(
    path,
    (done) => onProgress?.({ stage: "find", source: path, done, total: null }),
  );
  return await openPictures(set, options);
}
