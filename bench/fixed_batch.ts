/**
 * Trains on one fixed batch: the loss must fall. The quickest sign that a preset learns at full
 * size on a backend, with the time that a step takes there.
 *
 *     deno task bench:fixed-batch --preset keras-cifar100 --backend wasm
 */
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf, preset } from "../lib/config/run.ts";
import { loadDataset } from "../lib/data/load.ts";
import { createViTClassifier, namedVariables } from "../lib/models/vit_classifier.ts";
import { AdamW } from "../lib/optim/adamw.ts";
import { tf } from "../lib/tfjs.ts";
import { DeviceDataset } from "../lib/train/device_dataset.ts";
import { tensorsOf } from "../lib/capture/repeated.ts";
import { DeviceMetrics } from "../lib/train/metrics.ts";
import { gradientsOf } from "../lib/train/step.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";
import { print } from "../tasks/output.ts";

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
  print((await selectBackend(options.backend)).reason);
  const config = { ...preset(options.preset), batchSize };
  const { data } = options;
  const dataset = await loadDataset({
    dataset: data === undefined ? "shapes" : "cifar100",
    labels: "fine",
    data,
    root: "data",
  });
  const { train: split } = new DeviceDataset(dataset, { limit: 0, validationSplit: 0 });
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const variables = [...namedVariables(model).values()];
  const optimizer = new AdamW(config);
  const metrics = new DeviceMetrics(1);
  const indices = Int32Array.from({ length: batchSize }, (_, i) => i);
  // Without augmentation the batch is the same at every step; only the dropout masks differ.
  const batch = split.batch(tensorsOf(split.evaluationValues(indices)), config.imageSize);
  const times: number[] = [];
  for (let step = 0; step < Number(options.steps); step++) {
    const start = performance.now();
    tf.tidy(() => {
      const stepKey = tf.tensor1d([config.seed, step], "int32");
      const { stats, gradients } = gradientsOf(model, variables, batch, stepKey);
      optimizer.applyGradients(gradients);
      metrics.add(tf.tensor1d([metrics.nextRow], "int32"), stats);
    });
    metrics.advance();
    const [sums] = await metrics.take();
    const ms = performance.now() - start;
    times.push(ms);
    print(
      `step ${step + 1}  loss ${(sums!.loss / sums!.images).toFixed(4)}  ${ms.toFixed(0)} ms`,
    );
  }
  const sorted = times.slice(1).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)]!;
  print(`median ${median.toFixed(0)} ms/step without the first, which compiles`);
  Deno.exit(0);
});
