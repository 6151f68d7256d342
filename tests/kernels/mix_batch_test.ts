import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { mixBatch } from "../../lib/kernels/mix_batch.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";

/** `[rows, height, width, channels]`, share, and box. */
const cases: [[number, number, number, number], number, [number, number, number, number]][] = [
  [[4, 5, 5, 3], 0.3, [0, 0, 0, 0]],
  [[2, 7, 5, 1], 0.8, [0, 0, 0, 0]],
  [[6, 8, 8, 3], 1, [2, 0, 8, 3]],
  [[3, 6, 4, 2], 0.6, [1, 2, 3, 6]],
];

for (const [shape, share, box] of cases) {
  forEachBackend(`mixBatch of [${shape}] by ${share} and [${box}] matches float64`, async () => {
    const images = randomTensor([...shape]) as tf.Tensor4D;
    const mix = tf.tensor1d([share, ...box]);
    const mixed = mixBatch(images, mix);
    const [rows, height, width, channels] = shape;
    assertEquals(mixed.shape, [rows - 1, height, width, channels]);
    const [from, found] = [await valuesOf(images), await valuesOf(mixed)];
    const [left, top, right, bottom] = box;
    found.forEach((value, i) => {
      const pixel = Math.floor(i / channels);
      const [x, y] = [pixel % width, Math.floor(pixel / width) % height];
      const isInside = x >= left && x < right && y >= top && y < bottom;
      const weight = isInside ? 0 : share;
      const expected = weight * from[i]! + (1 - weight) * from[i + height * width * channels]!;
      assertAlmostEquals(value, expected, 1e-6, `at ${i}`);
    });
    tf.dispose([images, mix, mixed]);
  });
}

forEachBackend("a share of 1 and an empty box give the images to the bit", async () => {
  const images = randomTensor([3, 4, 4, 3]) as tf.Tensor4D;
  const mix = tf.tensor1d([1, 0, 0, 0, 0]);
  const mixed = mixBatch(images, mix);
  assertEquals(await valuesOf(mixed), (await valuesOf(images)).slice(0, 2 * 48));
  tf.dispose([images, mix, mixed]);
});

forEachBackend("mixBatch refuses one image alone and numbers that are no mix", () => {
  tf.tidy(() => {
    const images = tf.ones<tf.Rank.R4>([1, 2, 2, 3]);
    const mix = tf.tensor1d([1, 0, 0, 0, 0]);
    assertThrows(() => mixBatch(images, mix), Error, "not float32 [1,2,2,3]");
    const two = tf.ones<tf.Rank.R4>([2, 2, 2, 3]);
    assertThrows(() => mixBatch(two, tf.tensor1d([1])), Error, "not float32 [1]");
  });
}, { backends: ["cpu"] });
