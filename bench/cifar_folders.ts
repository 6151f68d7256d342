/**
 * Writes CIFAR-100 out as PNG files, one folder a class under `train/`, `val/` and `test/`, and
 * beside them the same records in the binary form, so that both can be trained and compared:
 *
 *     deno run --allow-read --allow-write bench/cifar_folders.ts --data cifar-100-binary --out out
 *     deno task train --preset tiny --epochs 1 --dataset folder:out/folders --stored-size 32
 *     deno task train --preset tiny --epochs 1 --dataset cifar100 --data out/binary
 *
 * The runs give the same numbers to the last digit where both see the same records in the same
 * order. A file's name is its number in the official files, so within a class names sort as records
 * do; a folder deals its classes out in turn, so the binary files are written in that order, and what
 * they hold out, their last tenth, is what `val/` holds. No order is kept on the side.
 */
import { cifarLayouts } from "../lib/data/cifar.ts";
import {
  type ImageDataset,
  type ImageSplit,
  limitSplit,
  splitValidation,
} from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { byCodePoints } from "../lib/data/picture_set.ts";
import { drawSplits } from "../lib/data/stratified.ts";
import { encodePng } from "../lib/report/encode_png.ts";
import { newCommand, runTask } from "../tasks/cli.ts";

/** A split's name, its records, and the number of its first in the official file. */
type Part = [folder: string, split: ImageSplit, first: number];

/**
 * Writes `OUT/folders` and `OUT/binary`.
 * @param dataset of 32x32x3 and 100 classes whose names are in the order of code points
 * @param share of the train records, from their end, that becomes `val/`
 */
export async function writeCifarFolders(
  dataset: ImageDataset,
  out: string,
  share = 0.1,
): Promise<void> {
  const { classNames, test } = dataset;
  if (`${[...classNames].sort(byCodePoints)}` !== `${classNames}`) {
    throw new Error("The classes would have other labels in folders");
  }
  const { train, validation } = splitValidation(dataset.train, share);
  const parts: Part[] = [
    ["train", train, 0],
    ["val", validation, train.count],
    ["test", test, 0],
  ];
  for (const [folder, split, first] of parts) {
    await writeFolder(`${out}/folders/${folder}`, split, first, classNames);
  }
  const layout = cifarLayouts.cifar100;
  await Deno.mkdir(`${out}/binary`, { recursive: true });
  await Deno.writeFile(`${out}/binary/${layout.trainFiles[0]}`, records(train, validation));
  await Deno.writeFile(`${out}/binary/${layout.testFiles[0]}`, records(test));
  const { fine, coarse } = layout.labels;
  const others = Array.from({ length: coarse!.classes }, (_, i) => `coarse ${i}`);
  await Deno.writeTextFile(`${out}/binary/${fine.namesFile}`, classNames.join("\n"));
  await Deno.writeTextFile(`${out}/binary/${coarse!.namesFile}`, others.join("\n"));
}

async function writeFolder(
  folder: string,
  { images, labels, count }: ImageSplit,
  first: number,
  classNames: string[],
): Promise<void> {
  for (const name of classNames) await Deno.mkdir(`${folder}/${name}`, { recursive: true });
  for (let i = 0; i < count; i++) {
    const data = images.subarray(i * 3072, (i + 1) * 3072);
    const png = encodePng({ width: 32, height: 32, channels: 3, data });
    const number = String(first + i).padStart(5, "0");
    await Deno.writeFile(`${folder}/${classNames[labels[i]!]}/${number}.png`, png);
  }
}

/** The splits one after the other as records, each in the order in which a folder has it. */
function records(...splits: ImageSplit[]): Uint8Array {
  const bytes = new Uint8Array(splits.reduce((sum, { count }) => sum + count, 0) * 3074);
  let at = 0;
  for (const { images, labels, count } of splits) {
    const none = { seed: 0, validationSplit: 0, testSplit: 0 };
    for (const index of drawSplits(labels, { train: count }, none).train) {
      // Coarse labels are not kept.
      bytes[at + 1] = labels[index]!;
      for (let i = 0; i < 3072; i++) {
        bytes[at + 2 + (i % 3) * 1024 + Math.floor(i / 3)] = images[index * 3072 + i]!;
      }
      at += 3074;
    }
  }
  return bytes;
}

if (import.meta.main) {
  await runTask(async () => {
    const command = newCommand("cifar_folders", "Write CIFAR-100 as PNG files in folders.")
      .option("--data <source>", "folder or archive of CIFAR-100; default: data/")
      .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
      .requiredOption("--out <folder>", "where the folders go")
      .option("--limit <n>", "only the first n records of each split; 0: all", "0");
    command.parse();
    const { data, md5, out, limit } = command.opts();
    const where = { data, md5, root: "data" };
    const dataset = await loadDataset({ dataset: "cifar100", labels: "fine", ...where });
    const { train, test } = dataset;
    const few = (split: ImageSplit) => limitSplit(split, Number(limit));
    await writeCifarFolders({ ...dataset, train: few(train), test: few(test) }, out);
    console.log(`${out}/folders and ${out}/binary: ${few(train).count + few(test).count} images`);
  });
}
