/** `deno task eval`: loss, top-1, top-5 and a per-class table of a run's weights. */
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { limitSplit } from "../lib/data/dataset.ts";
import { UserError } from "../lib/errors.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { classAccuracies, classTable } from "../lib/report/tables.ts";
import { DeviceSplit } from "../lib/train/batches.ts";
import { evaluateEach, sumsOf } from "../lib/train/evaluate.ts";
import { metricsOf } from "../lib/train/metrics.ts";
import { assignWeights } from "../lib/train/weights.ts";
import { newCommand, oneOf, runTask } from "./cli.ts";
import { deviceDataText, loadRunData } from "./data_options.ts";
import { askToReach } from "./permissions.ts";
import { loadRunWeights } from "./run_weights.ts";
import { TrainDisplay } from "./train_display.ts";

const command = newCommand("eval", "Evaluate the weights of a run.")
  .argument("<run>", "the run's folder")
  .option("--weights <which>", "best or last", "best")
  .option("--split <which>", "test or train", "test")
  .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
  .option("--data <source>", "folder, archive or URL of the data set; default: data/")
  .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
  .option("--device-data <bytes>", deviceDataText, "auto")
  .option("--limit <n>", "use only the first n records; default: the run's limit")
  .option("--json", "print one JSON object", false);

await runTask(async () => {
  command.parse();
  const options = command.opts();
  await askToReach("--data", options.data);
  const { path, config, state } = await loadRunWeights(command.args[0]!, options.weights);
  const choice = await selectBackend(options.backend);
  const dataset = await loadRunData(config, options, (text) => {
    if (!options.json) console.log(text);
  });
  const all = oneOf("--split", options.split, { test: dataset.test, train: dataset.train });
  const images = limitSplit(all, limitOf(options.limit) ?? config.limit);

  const model = createViTClassifier(modelConfigOf(config));
  assignWeights(model, state.weights, path);
  const split = new DeviceSplit(images, state.preprocessing);
  const display = new TrainDisplay(config, options.json);
  const each = await evaluateEach(model, split, {
    batchSize: config.batchSize,
    onBatch: (done, count) => display.evaluation("Evaluating", done, count),
  });
  const result = metricsOf(sumsOf(each));
  const hits = (column: number) =>
    Array.from({ length: images.count }, (_, i) => each[i * 3 + column]!);
  const classes = classAccuracies(dataset.classNames, images.labels, hits(1), hits(2));
  if (options.json) {
    const { loss, accuracy, top5 } = result;
    const { step, epoch } = state;
    const report = {
      run: command.args[0],
      weights: options.weights,
      split: options.split,
      step,
      epoch,
    };
    console.log(JSON.stringify({ ...report, loss, accuracy, top5, classes }));
  } else {
    console.log(`Backend ${choice.reason}`);
    console.log(`${path}, step ${state.step}, ${images.count} ${options.split} images`);
    display.result(options.split, result);
    console.log(`\n${classTable(classes)}`);
  }
  Deno.exit(0);
});

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && text.trim() !== "") return value;
  throw new UserError(`Option --limit cannot be "${text}": it must be a whole number from 0.`);
}
