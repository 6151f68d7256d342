import { assertEquals, assertNotEquals } from "@std/assert";
import { augmentationsOf } from "../../lib/augment/list.ts";
import { drawTransforms } from "../../lib/augment/transforms.ts";
import { augmentBatch, packImages } from "../../lib/kernels/augment_batch/augment_batch.ts";
import { tf } from "../../lib/tfjs.ts";
import { type InputValues, tensorsOf } from "../../lib/capture/repeated.ts";
import {
  type Batch,
  batchAt,
  DeviceSplit,
  epochOrder,
  inOrder,
  stepsPerEpoch,
} from "../../lib/train/batches.ts";
import { forEachBackend } from "../backends.ts";
import { valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";

const preprocessing = preprocessingOf(shapes.train);
const indices = Int32Array.of(70, 3, 3, 41);

/** `augmentBatch` called directly. */
async function directly(transforms: Float32Array | null): Promise<Float32Array> {
  const images = tf.tidy(() =>
    augmentBatch(
      packImages(shapes.train.images, 32 * 32 * 3),
      tf.tensor1d(indices, "int32"),
      transforms && tf.tensor2d(transforms, [4, 6]),
      { ...preprocessing, size: 8 },
    )
  );
  const values = await valuesOf(images);
  images.dispose();
  return values;
}

/** The batch of such values, 8 pixels wide. */
function batchOf(split: DeviceSplit, values: Record<string, InputValues>): Batch {
  return tf.tidy(() => split.batch(tensorsOf(values), 8) as Batch & tf.TensorContainer);
}

forEachBackend("a training batch is the augmentation of its images at its step", async () => {
  const split = new DeviceSplit(shapes.train, preprocessing);
  const batch = batchOf(split, split.trainingValues(indices, tinyRun, 5));
  const { images, labels: { first } } = batch;
  assertEquals([images.shape, first.dtype], [[4, 8, 8, 3], "int32"]);
  assertEquals([...await first.data()], [...indices].map((i) => shapes.train.labels[i]!));
  const augmentations = augmentationsOf(tinyRun);
  const drawn = { batch: 4, size: 8, seed: tinyRun.seed, step: 5, augmentations };
  const values = await valuesOf(batch.images);
  assertEquals(values, await directly(drawTransforms(drawn)));
  assertNotEquals(values, await directly(drawTransforms({ ...drawn, step: 6 })));
  tf.dispose([batch.images, batch.labels.first]);
  split.dispose();
});

forEachBackend("an evaluation batch is normalized and resized only", async () => {
  const split = new DeviceSplit(shapes.train, preprocessing);
  assertEquals(split.count, 75);
  const batch = batchOf(split, split.evaluationValues(indices));
  const values = await valuesOf(batch.images);
  assertEquals(values, await directly(null));
  // One index twice is one image twice.
  assertEquals(values.slice(192, 384), values.slice(384, 576));
  tf.dispose([batch.images, batch.labels.first]);
  split.dispose();
});

Deno.test("an epoch's order is a permutation, another for each epoch and seed", () => {
  const orders = [[1, 0], [1, 1], [2, 0]].map(([seed, epoch]) => epochOrder(1000, seed!, epoch!));
  for (const order of orders) {
    assertEquals([...order].sort((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i));
  }
  assertEquals(epochOrder(1000, 1, 0), orders[0]);
  assertNotEquals(orders[1], orders[0]);
  assertNotEquals(orders[2], orders[0]);
});

Deno.test("inOrder keeps the last partial batch", () => {
  assertEquals([...inOrder(5, 2)].map((batch) => [...batch]), [[0, 1], [2, 3], [4]]);
  assertEquals([...inOrder(4, 2)].map((batch) => [...batch]), [[0, 1], [2, 3]]);
  assertEquals([...inOrder(0, 2)], []);
});

Deno.test("the last partial batch is a step of the epoch", () => {
  assertEquals([45_000, 512, 1].map((count) => stepsPerEpoch(256, count)), [176, 2, 1]);
  const order = Int32Array.of(4, 2, 0, 1, 3);
  assertEquals([0, 1, 2].map((position) => [...batchAt(order, position, 2)]), [
    [4, 2],
    [0, 1],
    [3],
  ]);
});
