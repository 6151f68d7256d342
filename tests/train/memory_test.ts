import { assertEquals, assertThrows } from "@std/assert";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { assertStepFits, stepTensors } from "../../lib/train/memory.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { gradientsOf } from "../../lib/train/step.ts";
import { forEachBackend } from "../backends.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";

const MEBIBYTE = 2 ** 20;
const keras = preset("keras-cifar100");

Deno.test("a batch above the device's limit is refused with the batch that fits", () => {
  const refused = () => assertStepFits(keras, 1024, 100 * MEBIBYTE);
  assertEquals(
    assertThrows(refused, UserError).message,
    "A tensor of a step, the queries of one attention [batch, tokens, heads * keyDim] = " +
      "[1024, 144, 256], would take 144.0 MiB, above this GPU's limit of 100.0 MiB a buffer; " +
      "take a batch of at most 711 instead of 1024 (--batch-size 711).",
  );
  assertStepFits(keras, 711, 100 * MEBIBYTE);
  assertThrows(() => assertStepFits(keras, 712, 100 * MEBIBYTE), UserError, "at most 711");
});

Deno.test("a model above the device's limit is refused whatever the batch", () => {
  const refused = () => assertStepFits(keras, 1, 64 * MEBIBYTE);
  const { message } = assertThrows(refused, UserError);
  assertEquals(
    message,
    "A tensor of a step, a kernel of the head [features, units] = [9216, 2048], would take " +
      "72.0 MiB, above this GPU's limit of 64.0 MiB a buffer; take a smaller model, or " +
      "--backend wasm.",
  );
});

Deno.test("on a processor a tensor above 4 GiB is refused", () => {
  const refusal = (config: RunConfig, batch: number) =>
    assertThrows(() => assertStepFits(config, batch, Infinity), UserError).message;
  assertStepFits(keras, 29127, Infinity);
  assertEquals(
    refusal(keras, 30000),
    "A tensor of a step, the queries of one attention [batch, tokens, heads * keyDim] = " +
      "[30000, 144, 256], would take 4.1 GiB, above the 4.0 GiB that a processor's can have; " +
      "take a batch of at most 29127 instead of 30000 (--batch-size 29127).",
  );
  assertEquals(
    refusal({ ...keras, mlpHeadUnits: [262144] }, 1),
    "A tensor of a step, a kernel of the head [features, units] = [9216, 262144], would take " +
      "9.0 GiB, above the 4.0 GiB that a processor's can have; take a smaller model.",
  );
});

Deno.test("a mixed batch has one image more, and the batch that fits one less", () => {
  const config: RunConfig = {
    ...tinyRun,
    imageSize: 64,
    patchSize: 32,
    augment: "flip|mixup(0.8)",
  };
  const image = 64 * 64 * 3 * 4;
  assertStepFits(config, 20, 21 * image);
  const refused = () => assertStepFits(config, 21, 21 * image);
  const { message } = assertThrows(refused, UserError);
  assertEquals(
    message,
    "A tensor of a step, the images [batch, size, size, channels] = [22, 64, 64, 3], would take " +
      "1.0 MiB, above this GPU's limit of 1032192 bytes a buffer; take a batch of at most 20 instead " +
      "of 21 (--batch-size 20).",
  );
  assertStepFits({ ...config, augment: "flip" }, 21, 21 * image);
});

/** Each makes another tensor the largest. */
const variants: Record<string, Partial<RunConfig>> = {
  images: {},
  "mixed images": { augment: "mixup(0.8)" },
  queries: { numHeads: 8, keyDim: 16 },
  "tokens of one MLP layer": { transformerUnits: [128, 8] },
  "the head's layer": { mlpHeadUnits: [450], numClasses: 100, batchSize: 120 },
  "kernel of the head": { mlpHeadUnits: [450], batchSize: 20 },
  "shifted patches": { tokenizer: "shifted" },
  "a class token's queries": { pooling: "token", numHeads: 8, keyDim: 16 },
};

forEachBackend("the largest tensor of a real step is the one that is checked", async () => {
  for (const [name, fields] of Object.entries(variants)) {
    const config: RunConfig = { ...tinyRun, ...fields };
    const batch = config.batchSize;
    const sizes = stepTensors(config).map(({ shape, perImage, more = 0 }) =>
      shape.reduce((product, extent) => product * extent, perImage ? batch + more : 1)
    );
    const model = createViTClassifier(modelConfigOf(config));
    const optimizer = new AdamW();
    const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
    const records = Int32Array.from({ length: batch }, (_, i) => i % 75);
    const { kernels } = await tf.profile(() =>
      tf.tidy(() => {
        const stepKey = tf.tensor1d([1, 0], "int32");
        const values = split.trainingValues(records, config, 0);
        const images = split.batch(tensorsOf(values), config.imageSize);
        const variables = [...namedVariables(model).values()];
        optimizer.applyGradients(gradientsOf(model, variables, images, stepKey).gradients);
      })
    );
    // On hosts attention may keep its weights; on webgpu, which has the limit, they never exist.
    const outputs = kernels.filter((kernel) => kernel.name !== "VitAttention");
    const largest = Math.max(
      ...outputs.flatMap(({ outputShapes }) => outputShapes.map((s) => tf.util.sizeFromShape(s))),
    );
    assertEquals(largest, Math.max(...sizes), name);
    split.dispose();
    optimizer.dispose();
    model.dispose();
  }
}, { backends: ["cpu"] });
