import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { RgbImage } from "../../lib/data/image/rgb_image.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { predictImages } from "../../lib/train/predict.ts";
import { forEachBackend } from "../backends.ts";
import { tinyModel } from "../models/tiny_model.ts";
import { preprocessingOf, shapes } from "./tiny_run.ts";

const context = { preprocessing: preprocessingOf(shapes.train), classNames: shapes.classNames };

/** Image `index` of the test split. */
function imageAt(index: number): RgbImage {
  const data = shapes.test.images.slice(index * 3072, (index + 1) * 3072);
  return { width: 32, height: 32, channels: 3, data };
}

forEachBackend("probabilities are the softmax of the logits, the likeliest first", async () => {
  const model = createViTClassifier(tinyModel, { seed: 2 });
  const images = Array.from({ length: 8 }, (_, i) => imageAt(i));
  const predictions = await predictImages(model, images, context, 100);
  const rows = tf.tidy(() => {
    const split = new DeviceSplit(shapes.test, context.preprocessing);
    const indices = Int32Array.from({ length: 8 }, (_, i) => i);
    return model.predict(
      split.batch(tensorsOf(split.evaluationValues(indices)), 8).images,
    ) as tf.Tensor2D;
  });
  const logits = await rows.array();
  predictions.forEach((guesses, i) => {
    const total = logits[i]!.reduce((sum, x) => sum + Math.exp(x), 0);
    const sum = guesses.reduce((sum, { probability }) => sum + probability, 0);
    assertAlmostEquals(sum, 1, 1e-5);
    assertEquals(new Set(guesses.map(({ classIndex }) => classIndex)).size, 100);
    guesses.forEach(({ classIndex, className, probability }, place) => {
      assertEquals(className, shapes.classNames[classIndex]);
      assertAlmostEquals(probability, Math.exp(logits[i]![classIndex]!) / total, 1e-5);
      assert(place === 0 || guesses[place - 1]!.probability >= probability);
    });
  });
  rows.dispose();
  model.dispose();
});

forEachBackend("images of any size and number, five guesses each", async () => {
  const model = createViTClassifier(tinyModel, { seed: 2 });
  const data = new Uint8Array(70 * 9 * 3).fill(90);
  const wide: RgbImage = { width: 70, height: 9, channels: 3, data };
  // More than one pass through the model.
  const images = [wide, ...Array.from({ length: 40 }, (_, i) => imageAt(i % 20))];
  const predictions = await predictImages(model, images, context);
  assertEquals(predictions.map((guesses) => guesses.length), Array(41).fill(5));
  // An image's answer does not hang on its neighbours.
  assertEquals(predictions[21], predictions[1]);
  assertEquals(predictions[40], predictions[20]);
  assertEquals(await predictImages(model, [], context), []);
  model.dispose();
}, { backends: ["wasm", "cpu"] });

forEachBackend("a class without a name goes by its number", async () => {
  const model = createViTClassifier(tinyModel);
  const nameless = { ...context, classNames: [] };
  const guess = (await predictImages(model, [imageAt(0)], nameless))[0]![0]!;
  assertEquals(guess.className, `class ${guess.classIndex}`);
  model.dispose();
}, { backends: ["cpu"] });
