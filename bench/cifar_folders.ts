/**
 * Writes CIFAR-100 out as PNG files, one folder a class under `train/`, `val/` and `test/`, and
 * beside them the same records in the binary form, so that both can be trained and compared:
 *
 *     deno run --allow-read --allow-write bench/cifar_folders.ts --data cifar-100-binary --out out \
 *       --train wasm
 *
 * `--train` trains `tiny` for an epoch from the files and from the binary form, and prints what both
 * come to, which is the same to the last digit since both see the same records in the same order;
 * without it the tasks do, as `deno task train --preset tiny --epochs 1` with
 * `--dataset folder:out/folders --stored-size 32` and with `--dataset cifar100 --data out/binary`.
 *
 * A file's name is its number in the official files, so within a class names sort as records do; a
 * folder deals its classes out in turn, so the binary files are written in that order, and what
 * they hold out, their last tenth, is what `val/` holds. No order is kept on the side.
 */
import { createHash } from "node:crypto";
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf, preset, type RunConfig } from "../lib/config/run.ts";
import { cifarLayouts } from "../lib/data/cifar.ts";
import {
  type ImageDataset,
  type ImageSplit,
  limitSplit,
  splitValidation,
} from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { openImageFolder } from "../lib/data/open_images.ts";
import { byCodePoints } from "../lib/data/picture_set.ts";
import { drawSplits } from "../lib/data/stratified.ts";
import { createViTClassifier, namedVariables } from "../lib/models/vit_classifier.ts";
import { encodePng } from "../lib/report/encode_png.ts";
import { DeviceDataset } from "../lib/train/device_dataset.ts";
import { fit } from "../lib/train/fit.ts";
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

/** What was written, opened from the files and from the binary form. */
export async function openBoth(out: string): Promise<Record<"files" | "binary", ImageDataset>> {
  const files = await openImageFolder(`${out}/folders`, {
    ...{ storedSize: 32, preparedRoot: `${out}/prepared` },
  });
  const where = { data: `${out}/binary`, root: out };
  return { files, binary: await loadDataset({ dataset: "cifar100", labels: "fine", ...where }) };
}

/** Losses and weights that a run comes to. */
export interface Trained {
  losses: Record<"loss" | "accuracy" | "valLoss" | "valAccuracy", number | null>[];
  weights: number[];
}

/** Trains from the weights of the configuration's seed. */
export async function trained(dataset: ImageDataset, config: RunConfig): Promise<Trained> {
  using data = new DeviceDataset(dataset, config);
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const { history } = await fit({ config, model, data });
  const losses = history.map(({ loss, accuracy, valLoss, valAccuracy }) => {
    return { loss, accuracy, valLoss, valAccuracy };
  });
  const variables = [...namedVariables(model).values()];
  const weights = (await Promise.all(variables.map(async (each) => [...await each.data()]))).flat();
  model.dispose();
  return { losses, weights };
}

if (import.meta.main) {
  await runTask(async () => {
    const command = newCommand("cifar_folders", "Write CIFAR-100 as PNG files in folders.")
      .option("--data <source>", "folder or archive of CIFAR-100; default: data/")
      .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
      .requiredOption("--out <folder>", "where the folders go")
      .option("--limit <n>", "only the first n records of each split; 0: all", "0")
      .option("--train <backend>", "also train tiny for an epoch, both ways");
    command.parse();
    const { data, md5, out, limit, train: backend } = command.opts();
    const where = { data, md5, root: "data" };
    const dataset = await loadDataset({ dataset: "cifar100", labels: "fine", ...where });
    const { train, test } = dataset;
    const few = (split: ImageSplit) => limitSplit(split, Number(limit));
    await writeCifarFolders({ ...dataset, train: few(train), test: few(test) }, out);
    console.log(`${out}/folders and ${out}/binary: ${few(train).count + few(test).count} images`);
    if (backend === undefined) return;
    console.log((await selectBackend(backend)).reason);
    const config = { ...preset("tiny"), epochs: 1 };
    const results: string[] = [];
    for (const [way, dataset] of Object.entries(await openBoth(out))) {
      const { losses, weights } = await trained(dataset, config);
      const hash = createHash("sha256").update(Float32Array.from(weights)).digest("hex");
      results.push(`${JSON.stringify(losses[0])}, weights of sha256 ${hash}`);
      console.log(`${way}: ${results.at(-1)}`);
    }
    if (results[0] !== results[1]) throw new Error("They differ");
    console.log("the same to the last digit");
  });
}
