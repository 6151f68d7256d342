/** `deno task predict`: the five likeliest classes of image files. */
import { selectBackend } from "../lib/backend/select.ts";
import { latestRun } from "../lib/checkpoint/run_folder.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { readImageFile } from "../lib/data/image/read.ts";
import type { RgbImage } from "../lib/data/image/rgb_image.ts";
import { UserError } from "../lib/errors.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { percent, shellWord } from "../lib/report/summary.ts";
import { predictImages, type Prediction } from "../lib/train/predict.ts";
import { assignWeights } from "../lib/train/weights.ts";
import { newCommand, parseArguments, runsFolder, runTask } from "./cli.ts";
import { print } from "./output.ts";
import { loadRunWeights } from "./run_weights.ts";

/** Files in memory at once; results come as soon as so many are classified. */
const filesAtOnce = 32;

await runTask(async () => {
  const command = parseArguments(
    newCommand("predict", "Name the five likeliest classes of image files.")
      .usage("[options] <run> <images...>")
      .argument("<run>", "the run's folder, or a checkpoint in it")
      // Not required, so that what is missing can be said in more than its name.
      .argument("[images...]", "image files of any size")
      .option("--weights <which>", "best or last", "best")
      .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
      .option("--json", "print one JSON object per image", false)
      .addHelpText(
        "after",
        "\nA file that is no image is named on standard error and the others are classified; the exit\n" +
          "code is then 2.\n\nExample: deno task predict runs/my-run photo.jpg drawing.png",
      ),
  );
  const { weights, backend, json } = command.opts();
  const [given, paths] = command.processedArgs;
  if (paths.length === 0) throw await missingImages(given);
  const isGiven = command.getOptionValueSource("weights") === "cli";
  const { path, config, state } = await loadRunWeights(given, isGiven ? weights : undefined);
  await selectBackend(backend);
  const model = createViTClassifier(modelConfigOf(config));
  assignWeights(model, state.weights, path);
  let failed = false;
  for (let start = 0; start < paths.length; start += filesAtOnce) {
    const some = paths.slice(start, start + filesAtOnce);
    const read = await Promise.all(some.map(readOrRefuse));
    const images = read.filter((image) => !(image instanceof UserError)) as RgbImage[];
    const predictions = images.length > 0 ? await predictImages(model, images, state) : [];
    some.forEach((file, i) => {
      const image = read[i]!;
      if (!(image instanceof UserError)) return show(file, predictions.shift()!, json);
      failed = true;
      console.error(`error: ${image.message}`);
    });
  }
  Deno.exit(failed ? 2 : 0);
});

/** One bad file is no reason to say nothing of the others. */
async function readOrRefuse(path: string): Promise<RgbImage | UserError> {
  try {
    return await readImageFile(path);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

async function missingImages(given: string): Promise<UserError> {
  const isRun = await Deno.stat(`${given}/config.json`).then(() => true, () => false);
  const [run, image] = isRun
    ? [given, "photo.jpg"]
    : [await latestRun(runsFolder) ?? `${runsFolder}/NAME`, given];
  return new UserError(
    `A run's folder and then images are needed: deno task predict ${shellWord(run)} ` +
      `${shellWord(image)}`,
  );
}

function show(path: string, top: Prediction[], json: boolean): void {
  if (json) return print(JSON.stringify({ image: path, predictions: top }));
  print(path);
  for (const { className, probability } of top) {
    print(`  ${percent(probability).padStart(8)}  ${className}`);
  }
}
