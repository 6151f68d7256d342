/** `deno task eval`: loss, top-1, top-5 of a run's weights, scores by class and what is confused. */
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf, type RunConfig } from "../lib/config/run.ts";
import { type ImageDataset, type ImageSplit, limitSplit } from "../lib/data/dataset.ts";
import { UserError } from "../lib/errors.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { formatResult } from "../lib/report/summary.ts";
import {
  confusedPairs,
  confusionMatrix,
  confusionTable,
  pairTable,
  precisions,
} from "../lib/report/confusion.ts";
import { classAccuracies, classTable } from "../lib/report/tables.ts";
import { DeviceSplit } from "../lib/train/batches.ts";
import { evaluateGuesses, sumsOf } from "../lib/train/evaluate.ts";
import { precisionHere, precisionOf } from "../lib/train/precision.ts";
import { splitDataset } from "../lib/train/device_dataset.ts";
import { checkEvaluationData } from "../lib/train/evaluation_data.ts";
import { metricsOf } from "../lib/train/metrics.ts";
import { givenOption, newCommand, oneOf, parseArguments, quietText, runTask } from "./cli.ts";
import { deviceDataText, loadRunData } from "./data_options.ts";
import { Lines } from "./lines.ts";
import { screen } from "./output.ts";
import { askToReach } from "./permissions.ts";
import { loadRunWeights, weightsOfRun } from "./run_weights.ts";

/** Pairs of classes that are shown. */
const mostPairs = 10;
/** Characters of a line where the output is no terminal. */
const widestMatrix = 100;

/** Which images `--split` means. */
const splits: Record<string, (dataset: ImageDataset, config: RunConfig) => ImageSplit> = {
  test: ({ test }, { limit }) => limitSplit(test, limit),
  train: ({ train }, { limit }) => limitSplit(train, limit),
  // What the run held out, whatever limit is asked for now: other images were trained on.
  val: (dataset, config) => splitDataset(dataset, config).validation,
};

await runTask(async () => {
  const command = parseArguments(
    newCommand("eval", "Evaluate the weights of a run.")
      .argument("<run>", "the run's folder, or a checkpoint in it")
      .option("--weights <which>", weightsOfRun, "best")
      .option("--split <which>", "test, train or val, the images that the run held out", "test")
      .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
      .option("--precision <name>", "f32 or f16; default: the run's, where the backend has it")
      .option("--data <source>", "folder, archive or URL of the data set; default: data/")
      .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
      .option("--device-data <bytes>", deviceDataText, "auto")
      .option("--limit <n>", "use only the first n images; default: the run's limit")
      .option("-q, --quiet", quietText, false)
      .option("--json", "print one JSON object", false)
      .addHelpText(
        "after",
        "\nPrints loss, top-1 and top-5; precision, recall and top-5 by class; the classes that are\n" +
          "confused most, and the confusion matrix where it fits. --json has all of it: confusion[i][j]\n" +
          "counts the images of class i that were taken for class j.\n\n" +
          "Example: deno task eval runs/my-run --split val",
      ),
  );
  const options = command.opts();
  await askToReach("--data", options.data);
  const [given] = command.processedArgs;
  const splitOf = oneOf("--split", options.split, splits);
  const limit = limitOf(options.limit);
  const { path, config, state } = await loadRunWeights(given, givenOption(command, "weights"));
  const choice = await selectBackend(options.backend);
  const precision = options.precision === undefined
    ? precisionHere(config.precision)
    : precisionOf(options.precision);
  const lines = new Lines(screen, options.json, undefined, options.quiet);
  lines.remark(`Backend ${choice.reason}`);
  const dataset = await loadRunData(config, options, (text) => lines.notice(text));
  const notice = checkEvaluationData(state, dataset);
  if (notice !== null) lines.notice(notice);
  // Another limit is one of the split; of the validation it only shortens what was held out.
  const images = options.split === "val"
    ? limitSplit(splitOf(dataset, config), limit ?? 0)
    : splitOf(dataset, { ...config, limit: limit ?? config.limit });
  if (images.count === 0) {
    throw new UserError(
      options.split === "val"
        ? `The run held out no images to validate on; choose --split test or train.`
        : `${dataset.name} has no ${options.split} images; choose another --split.`,
    );
  }
  if (options.split === "val") {
    lines.notice("These images chose the best epoch, so new ones will do worse.");
  }

  const model = createViTClassifier(modelConfigOf(config), { given: state.weights });
  const split = new DeviceSplit(images, state.preprocessing);
  // On webgpu the first batch also compiles kernels.
  lines.evaluation("Evaluating", 0, images.count);
  const { statistics, guesses } = await evaluateGuesses(model, split, {
    batchSize: config.batchSize / config.accumulate,
    precision,
    onBatch: (done, count) => lines.evaluation("Evaluating", done, count),
  });
  const result = metricsOf(sumsOf(statistics));
  if (!Number.isFinite(result.loss)) {
    throw new UserError(
      `The weights of ${path} give a loss of ${result.loss}; take others with --weights.`,
    );
  }
  const hits = (column: number) =>
    Array.from({ length: images.count }, (_, i) => statistics[i * 3 + column]!);
  const { classNames } = dataset;
  const confusion = confusionMatrix(images.labels, guesses, classNames.length);
  const classPrecisions = precisions(confusion);
  const classes = classAccuracies(classNames, images.labels, hits(1), hits(2))
    .map((accuracy, k) => ({ ...accuracy, precision: classPrecisions[k]!, recall: accuracy.top1 }));
  const confused = confusedPairs(confusion, classNames, mostPairs);
  if (options.json) {
    const { loss, accuracy, top5 } = result;
    const { step, epoch } = state;
    const report = { run: given, weights: weightsOf(path), split: options.split, step, epoch };
    lines.say(JSON.stringify({ ...report, loss, accuracy, top5, classes, confused, confusion }));
  } else {
    lines.say(`${path}, step ${state.step}, ${images.count} ${options.split} images`);
    lines.say(formatResult(options.split, result));
    lines.say(`\n${classTable(classes)}`);
    if (confused.length > 0) lines.say(`Most confused:\n\n${pairTable(confused)}`);
    const matrix = confusionTable(confusion, classNames, Math.min(lines.width, widestMatrix));
    lines.say(
      matrix ??
        `The confusion matrix of ${classNames.length} classes is too wide to print; --json has it.`,
    );
  }
  Deno.exit(0);
});

/** `best` of `runs/a/best.safetensors`. */
function weightsOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1).replace(/\.safetensors$/, "");
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && text.trim() !== "") return value;
  throw new UserError(`Option --limit cannot be "${text}": it must be a whole number from 0.`);
}
