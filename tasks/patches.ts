/** `deno task patches`: an image and the grid of its patches, as the Keras example shows them. */
import { Option } from "@commander-js/extra-typings";
import { NONE, parseAugmentations } from "../lib/augment/list.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { preset } from "../lib/config/presets.ts";
import { readImageFile } from "../lib/data/image/read.ts";
import { resizeImage } from "../lib/data/image/resize.ts";
import type { RgbImage } from "../lib/data/image/rgb_image.ts";
import { loadDataset } from "../lib/data/load.ts";
import { type DatasetName, datasetNames } from "../lib/data/sources.ts";
import { UserError } from "../lib/errors.ts";
import { encodePng } from "../lib/report/encode_png.ts";
import { drawPatches, patchLines, patchNumbers } from "../lib/report/patches.ts";
import { augmentedPicture } from "../lib/train/augmented_picture.ts";
import { newCommand, parseArguments, runTask } from "./cli.ts";
import { print } from "./output.ts";
import { checkAbsent } from "./output_file.ts";
import { askToReach } from "./permissions.ts";

const defaults = preset("keras-cifar100");

await runTask(async () => {
  const command = parseArguments(
    newCommand(
      "patches",
      "Draws an image and the grid of its patches, and prints their numbers.",
    )
      .option("--image <file>", "an image file of any size; without it, a train image")
      .addOption(
        new Option("--dataset <name>", "the data set of the train image")
          .choices(datasetNames).default("shapes" as const),
      )
      .option("--data <source>", "the data set's folder, archive or URL")
      .option("--md5 <checksum>", "the archive's checksum, or none")
      .option("--root <folder>", "the folder of the data sets", "data")
      .option("--index <number>", "which train image", "0")
      .option("--image-size <pixels>", "side that the image is resized to", `${defaults.imageSize}`)
      .option("--patch-size <pixels>", "side of a patch", `${defaults.patchSize}`)
      .option("--augment <list>", "how the image is varied first, as training does it", NONE)
      .option("--seed <number>", "another way to vary it", "1")
      .option("--out <file>", "the picture, a PNG file that is not there yet", "patches.png")
      .option("--json", "print one JSON object", false),
  );
  const options = command.opts();
  const { out } = options;
  await askToReach("--data", options.data);
  const imageSize = wholeNumber("--image-size", options.imageSize, 1, 4096);
  const patchSize = wholeNumber("--patch-size", options.patchSize, 1, imageSize);
  const seed = wholeNumber("--seed", options.seed, 0, 2 ** 31 - 1);
  const augmentations = parseAugmentations(options.augment);
  const lines = patchLines(imageSize, patchSize, 3);
  if (!/\.png$/i.test(out)) {
    throw new UserError(`--out ${out} cannot be written: the picture is PNG, so end it in .png.`);
  }
  await checkAbsent(out);
  const image = options.image === undefined
    ? await trainImage(options)
    : await readImageFile(options.image);
  let resized = resizeImage(image, imageSize);
  if (augmentations.length > 0) {
    await selectBackend("cpu");
    resized = await augmentedPicture(resized, augmentations, seed);
  }
  const picture = encodePng(drawPatches(resized, patchSize));
  await writeFileAtomic(out, [picture]);
  if (options.json) {
    const numbers = patchNumbers(imageSize, patchSize, 3);
    return print(JSON.stringify({ imageSize, patchSize, ...numbers, out }));
  }
  for (const line of lines) print(line);
  print(`Picture: ${out}`);
});

async function trainImage(options: {
  dataset: DatasetName;
  data?: string;
  md5?: string;
  root: string;
  index: string;
}): Promise<RgbImage> {
  const index = wholeNumber("--index", options.index, 0, Number.MAX_SAFE_INTEGER);
  const dataset = await loadDataset({ ...options, labels: "fine" });
  const { width, height, channels, train } = dataset;
  if (index >= train.count) {
    throw new UserError(
      `--index ${index} is beyond the ${train.count} train images of ${dataset.name}; choose one below it.`,
    );
  }
  const bytes = width * height * channels;
  const pixels = train.images.subarray(index * bytes, (index + 1) * bytes);
  return { width, height, channels: 3, data: pixels };
}

function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) {
    return value;
  }
  throw new UserError(
    `${option} cannot be "${text}"; it is a whole number from ${least} to ${most}.`,
  );
}
