/**
 * Trains on one fixed batch: the loss must fall. The quickest sign that a preset learns at full
 * size on a backend, with the time that a step takes there.
 *
 *     deno task bench:fixed-batch --preset keras-cifar100 --backend wasm
 */
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf, preset } from "../lib/config/run.ts";
import { channelStatistics } from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { createViTClassifier, namedVariables } from "../lib/models/vit_classifier.ts";
import { AdamW } from "../lib/optim/adamw.ts";
import { tf } from "../lib/tfjs.ts";
import { DeviceSplit } from "../lib/train/batches.ts";
import { DeviceMetrics } from "../lib/train/metrics.ts";
import { trainStep } from "../lib/train/step.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";

await runTask(async () => {
  const command = newCommand("bench:fixed-batch", "Train on one fixed batch; its loss must fall.")
    .option("--preset <name>", "what to train", "keras-cifar100")
    .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
    .option("--batch-size <integer>", "images of the batch", "8")
    .option("--steps <integer>", "steps", "10")
    .option("--data <source>", "CIFAR-100's folder; without it, shapes");
  parseArguments(command);
  const options = command.opts();
  const batchSize = Number(options.batchSize);
  console.log((await selectBackend(options.backend)).reason);
  const config = { ...preset(options.preset), batchSize };
  const { data } = options;
  const dataset = await loadDataset({
    dataset: data === undefined ? "shapes" : "cifar100",
    labels: "fine",
    data,
    root: "data",
  });
  const { height, width, channels } = dataset;
  const how = { height, width, channels, ...channelStatistics(dataset.train, channels) };
  const split = new DeviceSplit(dataset.train, how);
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const variables = [...namedVariables(model).values()];
  const optimizer = new AdamW(config);
  const metrics = new DeviceMetrics(1);
  const records = Int32Array.from({ length: batchSize }, (_, i) => i);
  // Without augmentation the batch is the same at every step; only the dropout masks differ.
  const batch = split.evaluationBatch(records, config.imageSize);
  const times: number[] = [];
  for (let step = 0; step < Number(options.steps); step++) {
    const start = performance.now();
    tf.tidy(() => {
      const stepKey = tf.tensor1d([config.seed, step], "int32");
      metrics.add(trainStep(model, variables, optimizer, batch, stepKey));
    });
    const [sums] = await metrics.take();
    const ms = performance.now() - start;
    times.push(ms);
    console.log(
      `step ${step + 1}  loss ${(sums!.loss / sums!.images).toFixed(4)}  ${ms.toFixed(0)} ms`,
    );
  }
  const sorted = times.slice(1).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)]!;
  console.log(`median ${median.toFixed(0)} ms/step without the first, which compiles`);
  Deno.exit(0);
});
