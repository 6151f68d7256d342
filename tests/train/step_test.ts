import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import type { BackendName } from "../../lib/backend/select.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { WeightAverage } from "../../lib/optim/weight_average.ts";
import { tf } from "../../lib/tfjs.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { type Batch, DeviceSplit } from "../../lib/train/batches.ts";
import { DeviceMetrics } from "../../lib/train/metrics.ts";
import {
  evaluationStep,
  gradientsOf,
  stepGradients,
  stepValues,
  TrainingStep,
} from "../../lib/train/step.ts";
import { forEachBackend } from "../backends.ts";
import { tinyModel, valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";
import { assertSameGradients } from "./gradients.ts";

const indices = Int32Array.from({ length: 20 }, (_, i) => i);

/** One step on a batch: its statistics before the update. */
function trainOn(
  batch: Batch,
  model: tf.LayersModel,
  optimizer: AdamW,
  step: number,
): tf.Tensor2D {
  return tf.tidy(() => {
    const stepKey = tf.tensor1d([1, step], "int32");
    const variables = [...namedVariables(model).values()];
    const { stats, gradients } = gradientsOf(model, variables, batch, stepKey);
    optimizer.applyGradients(gradients);
    return stats;
  });
}

function evaluationBatch(split: DeviceSplit): Batch {
  return tf.tidy(() => {
    return split.batch(tensorsOf(split.evaluationValues(indices)), 8) as Batch & tf.TensorContainer;
  });
}

forEachBackend("ten steps on one batch lower its loss, without a tensor more", async () => {
  const model = createViTClassifier(
    { ...tinyModel, attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
    { seed: 1 },
  );
  const optimizer = new AdamW({ learningRate: 1e-2 });
  const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  const batch = evaluationBatch(split);
  const losses: number[] = [];
  const counts: number[] = [];
  const evaluated = evaluationStep(model, batch);
  for (let i = 0; i < 10; i++) {
    const stats = trainOn(batch, model, optimizer, 0);
    assertEquals(stats.shape, [20, 3]);
    const values = await valuesOf(stats);
    if (i === 0) {
      // Without dropout the forward pass is that of evaluation, before the update.
      (await valuesOf(evaluated)).forEach((x, at) => assertAlmostEquals(values[at]!, x, 1e-5));
    }
    losses.push(values.reduce((sum, x, at) => at % 3 === 0 ? sum + x / 20 : sum, 0));
    stats.dispose();
    counts.push(tf.memory().numTensors);
  }
  assertAlmostEquals(losses[0]!, Math.log(100), 1);
  assert(losses[9]! < losses[0]! - 0.5, `the losses were ${losses}`);
  assertEquals(counts.slice(1), Array(9).fill(counts[0]));
  tf.dispose([batch.images, batch.labels.first, evaluated]);
  split.dispose();
  optimizer.dispose();
  model.dispose();
});

forEachBackend("the step key decides the dropout of a step", async () => {
  const model = createViTClassifier(tinyModel, { seed: 1 });
  const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  const batch = evaluationBatch(split);
  const statsAt = async (step: number) => {
    // An update of nothing, so that only the key differs.
    const optimizer = new AdamW({ learningRate: 0, weightDecay: 0 });
    const stats = trainOn(batch, model, optimizer, step);
    const values = await valuesOf(stats);
    stats.dispose();
    optimizer.dispose();
    return values;
  };
  const first = await statsAt(3);
  assertEquals(await statsAt(3), first);
  assert((await statsAt(4)).some((x, i) => i % 3 === 0 && x !== first[i]));
  tf.dispose([batch.images, batch.labels.first]);
  split.dispose();
  model.dispose();
});

/** A run in small: everything that a training step works on. */
class SmallRun {
  readonly config: RunConfig;
  readonly model: tf.LayersModel;
  readonly variables: tf.Variable[];
  readonly optimizer = new AdamW({ ...tinyRun, clipNorm: 0.5, skipNonFinite: true });
  readonly train = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  readonly metrics = new DeviceMetrics(32);
  readonly average?: WeightAverage;
  readonly captured: TrainingStep;

  constructor(fields: Partial<RunConfig> = {}) {
    this.config = { ...tinyRun, ...fields };
    this.model = createViTClassifier(modelConfigOf(this.config), { seed: 1 });
    this.variables = [...namedVariables(this.model).values()];
    const { ema } = this.config;
    if (ema > 0) this.average = new WeightAverage(this.variables, ema);
    this.captured = new TrainingStep(this, this.metrics);
  }

  /** The images of a step: 20, but 15 in every fourth. */
  static imagesOf(step: number): Int32Array {
    const length = step % 4 === 3 ? 15 : 20;
    return Int32Array.from({ length }, (_, i) => (step * 20 + i) % 75);
  }

  plainStep(step: number): void {
    const { optimizer, metrics } = this;
    tf.tidy(() => {
      const inputs = tensorsOf(stepValues(this, SmallRun.imagesOf(step), step));
      const { stats, gradients } = stepGradients(this, inputs);
      optimizer.update(gradients, inputs.scalars as tf.Tensor1D);
      optimizer.advance();
      this.average?.update(inputs.averageShares as tf.Tensor1D);
      metrics.add(tf.tensor1d([metrics.nextRow], "int32"), stats);
      metrics.advance();
    });
  }

  /** Everything that a step changes. */
  async state() {
    const weights: Float32Array[] = [];
    for (const variable of this.variables) weights.push(await valuesOf(variable));
    return {
      weights,
      moments: [...(await this.optimizer.readMoments(this.variables)).values()],
      averages: this.average && [...(await this.average.read()).values()],
      step: this.optimizer.step,
      sums: await this.metrics.take(),
    };
  }

  dispose(): void {
    const { captured, metrics, average, train, optimizer, model } = this;
    for (const part of [captured, metrics, average, train, optimizer, model]) part?.dispose();
  }
}

/** All that a step may do beside the plain one. */
const recipe: Partial<RunConfig> = {
  ...{ schedule: "cosine", warmupEpochs: 1, learningRateFloor: 1e-4, epochs: 6 },
  ...{ labelSmoothing: 0.1, ema: 0.9, accumulate: 4 },
  ...{ dropPath: 0.2, augment: "flip|crop(1)|mixup(0.8,0.4)|cutmix(1,0.4)", mixEpochs: 3 },
};

/** Every kind of augmentation, in parts. */
const augmented: Partial<RunConfig> = {
  augment: "flip|resizedcrop(0.5)|randaugment(2,9)|jitter(0.4,0.4,0.4)|erase(0.5)",
  accumulate: 2,
};

/** What a model for small data sets has more. */
const small: Partial<RunConfig> = {
  ...{ tokenizer: "shifted", localityAttention: true, layerScale: 0.1, dropPath: 0.2 },
};

for (
  const [name, fields] of [
    ["plain", {}],
    ["the whole recipe", recipe],
    ["augmented", augmented],
    ["shifted patches, local attention, LayerScale", small],
  ] as const
) {
  forEachBackend(`twenty captured steps give the bytes of twenty called, ${name}`, (backend) => {
    return assertCapturedIsCalled(backend, fields);
  });
}

async function assertCapturedIsCalled(backend: BackendName, fields: Partial<RunConfig>) {
  const [plain, captured] = [new SmallRun(fields), new SmallRun(fields)];
  for (let step = 0; step < 20; step++) {
    // Weights that are put in during a run are new data.
    if (step === 11) {
      for (const { variables } of [plain, captured]) {
        tf.tidy(() => variables[0]!.assign(tf.mul(variables[0]!, 0.5)));
      }
    }
    // The step size may change at any step.
    for (const { optimizer } of [plain, captured]) optimizer.learningRate = 1e-2 / (1 + step);
    plain.plainStep(step);
    await captured.captured.run(SmallRun.imagesOf(step), step);
  }
  assertEquals(captured.captured.whyPlain === null, backend === "webgpu");
  assertEquals(await captured.state(), await plain.state());
  plain.dispose();
  captured.dispose();
}

forEachBackend("an accumulated step has the gradients of one batch", async () => {
  const noDropout = { attentionDropout: 0, mlpDropout: 0, headDropout: 0 };
  const model = createViTClassifier({ ...tinyModel, ...noDropout }, { seed: 1 });
  const variables = [...namedVariables(model).values()];
  const train = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  const optimizer = new AdamW();
  const found = async (accumulate: number, images: number) => {
    const config = { ...tinyRun, ...noDropout, labelSmoothing: 0.1, accumulate };
    const parts = { config, model, variables, optimizer, train };
    const { stats, gradients } = tf.tidy(() => {
      const values = stepValues(parts, indices.subarray(0, images), 3);
      const made = stepGradients(parts, tensorsOf(values));
      return made as typeof made & tf.TensorContainer;
    });
    const numbers = new Map<string, Float32Array>([["stats", await valuesOf(stats)]]);
    for (const { name } of variables) numbers.set(name, await valuesOf(gradients[name]!));
    tf.dispose([stats, gradients]);
    return numbers;
  };
  // The batch of 20 in equal parts, and smaller last ones of an epoch: 5, 5 and 3 images, or all in one.
  for (const [accumulate, images] of [[2, 20], [20, 20], [4, 13], [4, 5], [2, 1]] as const) {
    const whole = await found(1, images);
    const parts = await found(accumulate, images);
    assertSameGradients(parts, whole, `${images} in parts of ${20 / accumulate}`);
  }
  train.dispose();
  optimizer.dispose();
  model.dispose();
});

Deno.test("no two parts of a step, or of two steps, have one key", () => {
  const run = { config: { ...tinyRun, accumulate: 10 }, variables: [], optimizer: new AdamW() };
  const train = { count: 75, trainingValues: () => ({}) } as unknown as DeviceSplit;
  const keys = new Set<string>();
  for (let step = 0; step < 50; step++) {
    const parts = { ...run, train, model: undefined as unknown as tf.LayersModel };
    const inputs = stepValues(parts, indices, step);
    assertEquals([...inputs.stepKey!.values], [tinyRun.seed, step]);
    for (const [name, { values }] of Object.entries(inputs)) {
      if (name.startsWith("stepKey")) keys.add(values.join());
    }
  }
  assertEquals(keys.size, 500);
  run.optimizer.dispose();
});

forEachBackend("a partial batch borrows the memory of the full one", async () => {
  const run = new SmallRun();
  for (const step of [0, 3]) await run.captured.run(SmallRun.imagesOf(step), step);
  const [full, partial] = [20, 15].map((images) => run.captured.captureOf(images)!.stats);
  assertEquals(full!.passes, 1);
  assert(partial!.plannedBytes < full!.plannedBytes / 2, `${partial!.plannedBytes} bytes`);
  run.dispose();
}, { backends: ["webgpu"] });

forEachBackend("nothing grows over 500 captured steps", async () => {
  const run = new SmallRun({ augment: "flip|mixup(0.8,0.4)|cutmix(1,0.4)" });
  const indices = Int32Array.of(0, 1);
  const steps = async (from: number, to: number) => {
    for (let step = from; step < to; step++) {
      await run.captured.run(indices, step);
      if (step % 32 === 31) await run.metrics.take();
    }
    await run.metrics.take();
    return tf.memory();
  };
  const before = await steps(0, 20);
  const heap = Deno.memoryUsage().heapUsed;
  assertEquals(await steps(20, 500), before);
  // Garbage comes and goes; a tensor's worth of objects a dispatch would be far more.
  const grown = (Deno.memoryUsage().heapUsed - heap) / 2 ** 20;
  assert(grown < 16, `the JavaScript heap grew by ${grown} MiB`);
  run.dispose();
}, { backends: ["webgpu"] });

forEachBackend("a model that cannot be captured is trained plainly", async () => {
  const [plain, run] = [new SmallRun(), new SmallRun()];
  let calls = 0;
  for (const { model } of [plain, run]) {
    const apply = model.apply.bind(model);
    model.apply = (inputs, kwargs) => {
      // A number that JavaScript draws at each call; here one without effect.
      const drawn = tf.mul(tf.scalar(calls++), 0);
      return tf.add(apply(inputs, kwargs) as tf.Tensor, drawn);
    };
  }
  for (let step = 0; step < 2; step++) {
    plain.plainStep(step);
    await run.captured.run(SmallRun.imagesOf(step), step);
  }
  assertStringIncludes(run.captured.whyPlain!, "from JavaScript");
  assertEquals(await run.state(), await plain.state());
  plain.dispose();
  run.dispose();
}, { backends: ["webgpu"] });
