/** The public API is told nonsense: each call refuses it itself, and the next one works. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  AdamW,
  createViTClassifier,
  DeviceDataset,
  DeviceSplit,
  evaluate,
  evaluateEach,
  fit,
  type ImageDataset,
  limitSplit,
  modelConfigOf,
  predictImages,
  type RgbImage,
  type RunConfig,
  splitValidation,
  tf,
  trainRun,
  UserError,
} from "../mod.ts";
import { runFolder } from "../lib/checkpoint/run_folder.ts";
import { forEachBackend } from "./backends.ts";
import { shapes, tinyRun } from "./train/tiny_run.ts";

const config: RunConfig = { ...tinyRun, epochs: 1 };
const numbers = [NaN, Infinity, -Infinity, -1, 1.5, "7", null] as number[];
const { train } = shapes;

/** The data set with something wrong. */
const withTrain = (wrong: Partial<ImageDataset["train"]>): ImageDataset => {
  return { ...shapes, train: { ...train, ...wrong } };
};
const datasets: Record<string, ImageDataset> = {
  "height 16 of 32-pixel data": { ...shapes, height: 16 },
  "width 0": { ...shapes, width: 0 },
  "height NaN": { ...shapes, height: NaN },
  "width 32.5": { ...shapes, width: 32.5 },
  "five channels": { ...shapes, channels: 5 },
  "three labels": withTrain({ labels: train.labels.subarray(0, 3) }),
  "more images than it has": withTrain({ count: 999 }),
  "a negative count": withTrain({ count: -1 }),
  "half an image": withTrain({ count: 75.5 }),
  "bytes left over": withTrain({ images: new Uint8Array(75 * 3072 + 1) }),
  "a label beyond the classes": withTrain({ labels: new Uint8Array(75).fill(100) }),
  "one class": { ...shapes, classNames: ["all"] },
  "a class twice": {
    ...shapes,
    classNames: shapes.classNames.map((name, i) => i > 1 ? name : "a"),
  },
  "test labels missing": { ...shapes, test: { ...shapes.test, labels: new Uint8Array(0) } },
};

const configs: Record<string, Partial<RunConfig>> = {
  "learningRate -1": { learningRate: -1 },
  "learningRate NaN": { learningRate: NaN },
  "epochs 1.5": { epochs: 1.5 },
  "batchSize 0": { batchSize: 0 },
  "batchSize Infinity": { batchSize: Infinity },
  "validationSplit 1.5": { validationSplit: 1.5 },
  "limit -3": { limit: -3 },
  "beta1 2": { beta1: 2 },
  "seed -1": { seed: -1 },
  "dropout 1": { mlpDropout: 1 },
  "rotation NaN": { rotation: NaN },
  "an unknown field": { speed: 9 } as Partial<RunConfig>,
  "a field missing": { weightDecay: undefined },
};

const pixel = (wrong: object): RgbImage => {
  return { width: 2, height: 2, channels: 3, data: new Uint8Array(12), ...wrong } as RgbImage;
};
const images: Record<string, RgbImage> = {
  "0x0": pixel({ width: 0, height: 0, data: new Uint8Array(0) }),
  "width NaN": pixel({ width: NaN }),
  "width 2.5": pixel({ width: 2.5 }),
  "short data": pixel({ data: new Uint8Array(11) }),
  gray: pixel({ channels: 1, data: new Uint8Array(4) }),
  "with alpha": pixel({ channels: 4, data: new Uint8Array(16) }),
};

forEachBackend("nonsense is refused at the door, and the call after it works", async () => {
  const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
  const data = new DeviceDataset(shapes, config);
  const right = await evaluate(model, data.test, { batchSize: 8 });
  const folder = runFolder("/nowhere/run");
  let calls = 0;
  const refused = async (what: string, call: () => unknown) => {
    calls++;
    const tensors = tf.memory().numTensors;
    const { message } = await assertRejects(async () => await call(), UserError, undefined, what);
    assert(message.length < 400 && !message.includes("\n"), `${what}: ${message}`);
    assertEquals(tf.memory().numTensors, tensors, `${what} left tensors behind`);
  };

  for (const value of [...numbers, 0, 2.5]) {
    const [shown, batchSize] = [String(value), value];
    await refused(`evaluate, batchSize ${shown}`, () => evaluate(model, data.test, { batchSize }));
    await refused(`each, batchSize ${shown}`, () => evaluateEach(model, data.test, { batchSize }));
    await refused(
      `batchSize ${shown}`,
      () => fit({ config: { ...config, batchSize }, model, data }),
    );
  }
  for (const value of numbers) {
    await refused(`limitSplit ${value}`, () => limitSplit(train, value));
    await refused(`splitValidation ${value}`, () => splitValidation(train, value));
    // What is null is left out.
    if (value === null) continue;
    for (const field of ["beta1", "beta2"]) {
      await refused(`AdamW ${field} ${value}`, () => new AdamW({ [field]: value }));
    }
    if (value === 1.5) continue;
    for (const field of ["learningRate", "weightDecay", "clipNorm", "epsilon"]) {
      await refused(`AdamW ${field} ${value}`, () => new AdamW({ [field]: value }));
    }
  }
  for (const [what, wrong] of Object.entries(datasets)) {
    await refused(what, () => new DeviceDataset(wrong, config));
    await refused(`trainRun, ${what}`, () => trainRun({ config, dataset: wrong, folder }));
  }
  for (const [what, wrong] of Object.entries(configs)) {
    const given = { ...config, ...wrong };
    await refused(`fit, ${what}`, () => fit({ config: given, model, data }));
    await refused(`trainRun, ${what}`, () => trainRun({ config: given, dataset: shapes, folder }));
  }
  const noTest = {
    ...shapes,
    test: { images: new Uint8Array(0), labels: train.labels.subarray(0, 0), count: 0 },
  };
  await refused("no test images", () => trainRun({ config, dataset: noTest, folder }));
  for (const readInterval of [NaN, -1]) {
    await refused(`readInterval ${readInterval}`, () => fit({ config, model, data, readInterval }));
  }
  const { preprocessing } = data;
  const context = { preprocessing, classNames: shapes.classNames };
  for (const [what, image] of Object.entries(images)) {
    await refused(what, () => predictImages(model, [image], context));
  }
  await refused("no guesses", () => predictImages(model, [pixel({})], context, 0));
  await refused("a split of other sizes", () => {
    return new DeviceSplit(train, { ...preprocessing, height: 31 });
  });
  assertEquals(calls, 138);

  assertEquals(await evaluate(model, data.test, { batchSize: 8 }), right);
  data.dispose();
  model.dispose();
}, { backends: ["webgpu", "wasm"] });
