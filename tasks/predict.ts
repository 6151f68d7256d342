/** `deno task predict`: the likeliest classes of images, however many there are. */
import { Option } from "@commander-js/extra-typings";
import { selectBackend } from "../lib/backend/select.ts";
import { latestRun } from "../lib/checkpoint/run_folder.ts";
import { startMagick } from "../lib/data/image/magick.ts";
import { UserError } from "../lib/errors.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { blocks, csv, json, type PredictionFormat, table } from "../lib/report/predictions.ts";
import { shellWord } from "../lib/report/summary.ts";
import { precisionOf } from "../lib/train/precision.ts";
import { Classifier } from "../lib/train/predict.ts";
import {
  countOf,
  givenOption,
  newCommand,
  parseArguments,
  quietText,
  runsFolder,
  runTask,
} from "./cli.ts";
import { imageFiles } from "./image_files.ts";
import { Lines } from "./lines.ts";
import { screen } from "./output.ts";
import { predictAll } from "./predict_all.ts";
import { loadClassifier, weightsOfRun } from "./run_weights.ts";

await runTask(async () => {
  const command = parseArguments(
    newCommand("predict", "Name the likeliest classes of images.")
      .usage("[options] <run> <images...>")
      .argument("<run>", "the run's folder or a checkpoint in it, or a ViT of another library")
      // Not required, so that what is missing can be said in more than its name.
      .argument("[images...]", "files of any size, folders, patterns, or - for standard input")
      .option("--weights <which>", weightsOfRun, "best")
      .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
      .option(
        "--precision <name>",
        "what large tensors are stored as: f32 or, on webgpu, f16",
        "f32",
      )
      .option("--top <n>", "how many classes; default: 5, and 1 with --table")
      .addOption(new Option("--table", "print a line per image").conflicts(["csv", "json"]))
      .addOption(new Option("--csv", "print comma-separated values").conflicts(["json"]))
      .option("-q, --quiet", quietText, false)
      .option("--json", "print one JSON object per image", false)
      .addHelpText(
        "after",
        "\nA folder means all pictures below it. Files that cannot be read are named on standard error\n" +
          "and the others are classified; the exit code is then 2.\n\n" +
          "Examples:\n  deno task predict runs/my-run photo.jpg drawing.png\n" +
          "  deno task predict runs/my-run photos --table\n" +
          "  deno task predict runs/my-run 'photos/**/*.jpg' --top 1 --csv > classes.csv\n" +
          "  curl -s https://example.org/photo.jpg | deno task predict runs/my-run -",
      ),
  );
  const options = command.opts();
  const [given, words] = command.processedArgs;
  if (words.length === 0) throw await missingImages(given);
  const top = countOf("--top", options.top ?? (options.table ? "1" : "5"), "classes");
  // Compiled beside what follows; what it may fail with, the first picture says.
  startMagick().catch(() => {});
  const which = givenOption(command, "weights");
  // Not among the lines of a table.
  const weights = await loadClassifier(given, which, (text) => console.error(text));
  await selectBackend(options.backend);
  const precision = precisionOf(options.precision);
  const model = createViTClassifier(weights.config, { given: weights.weights });
  using classifier = new Classifier(model, { ...weights, precision });
  const format = formatOf(options, weights.classNames);
  const lines = new Lines(screen, options.json, undefined, options.quiet);
  // Their names alone, so that progress has an end.
  const files = await Array.fromAsync(imageFiles(words));
  const isGood = await predictAll(files, { classifier, top, format, lines });
  Deno.exit(isGood ? 0 : 2);
});

function formatOf(
  options: { table?: true; csv?: true; json: boolean },
  classNames: readonly string[],
): PredictionFormat {
  if (options.json) return json;
  if (options.csv) return csv;
  return options.table ? table(classNames) : blocks;
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
