import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { hostBatch, valuesOf } from "../../bench/sides.ts";
import { Baseline } from "../../bench/baseline.ts";
import { modelConfigOf, parseRunConfig, preset, type RunConfig } from "../../lib/config/run.ts";
import { channelStatistics } from "../../lib/data/dataset.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import type { Preprocessing } from "../../lib/data/preprocessing.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { gradientsOf } from "../../lib/train/step.ts";
import { forEachBackend } from "../backends.ts";

const dataset = createShapes({ train: 6, test: 1 });
const preprocessing: Preprocessing = {
  height: dataset.height,
  width: dataset.width,
  channels: dataset.channels,
  ...channelStatistics(dataset.train, dataset.channels),
};
const records = Int32Array.of(4, 1, 5);

/** A small model without dropout, whose masks the two sides draw differently. */
function configOf(fields: Partial<RunConfig>): RunConfig {
  return parseRunConfig({
    ...preset("tiny"),
    transformerLayers: 1,
    projectionDim: 8,
    transformerUnits: [16, 8],
    numHeads: 2,
    keyDim: 4,
    imageSize: 24,
    patchSize: 8,
    attentionDropout: 0,
    mlpDropout: 0,
    ...fields,
  });
}

// tf.image.transform is right on webgpu only.
for (
  const fields of [{}, { pooling: "flatten", mlpHeadUnits: [12] }, { pooling: "token" }] as const
) {
  forEachBackend(
    `baseline: trains as our step does, ${JSON.stringify(fields)}`,
    async () => {
      const config = configOf(fields as Partial<RunConfig>);
      const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
      const variables = namedVariables(model);
      const baseline = new Baseline(config, preprocessing, await valuesOf(variables));
      const optimizer = new AdamW(config);
      const split = new DeviceSplit(dataset.train, preprocessing);
      const losses: number[] = [];
      for (let step = 0; step < 3; step++) {
        const theirs = baseline.step(hostBatch(records, dataset, config, step));
        const stats = tf.tidy(() => {
          const values = split.trainingValues(records, config, step);
          const batch = split.batch(tensorsOf(values), config.imageSize);
          const stepKey = tf.tensor1d([config.seed, step], "int32");
          const list = [...variables.values()];
          const { stats, gradients } = gradientsOf(model, list, batch, stepKey);
          optimizer.applyGradients(gradients);
          return stats.mean(0) as tf.Tensor1D;
        });
        const [loss] = await stats.data<"float32">();
        assertAlmostEquals((await theirs.data<"float32">())[0]!, loss!, 2e-4 * loss!);
        losses.push(loss!);
        tf.dispose([theirs, stats]);
      }
      assert(losses[2]! < losses[0]!, `the loss did not fall: ${losses}`);
      split.dispose();
      optimizer.dispose();
      baseline.dispose();
      model.dispose();
    },
    { backends: ["webgpu"], allowTensorLeak: true },
  );
}

forEachBackend("baseline: gives images the same augmentation", async () => {
  const config = configOf({});
  const split = new DeviceSplit(dataset.train, preprocessing);
  const baseline = new Baseline(config, preprocessing, new Map());
  const values = split.trainingValues(records, config, 5);
  const ours = split.batch(tensorsOf(values), config.imageSize).images;
  const theirs = baseline.augment(hostBatch(records, dataset, config, 5));
  assertEquals(theirs.shape, ours.shape);
  const largest = tf.tidy(() => ours.sub(theirs).abs().max());
  assertAlmostEquals((await largest.data())[0]!, 0, 1e-4);
}, { backends: ["webgpu"], allowTensorLeak: true });
