import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { Dropout } from "../../lib/layers/dropout.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { valuesOf } from "../models/tiny_model.ts";

/** The layer's answer to 4,096 ones. */
async function onOnes(layer: Dropout, kwargs: Record<string, unknown>): Promise<Float32Array> {
  const y = tf.tidy(() => layer.apply(tf.ones([64, 64]), kwargs) as tf.Tensor);
  const values = await valuesOf(y);
  y.dispose();
  return values;
}

forEachBackend("outside training it is the identity", async () => {
  const layer = new Dropout({ rate: 0.5 });
  const ones = new Float32Array(4096).fill(1);
  assertEquals(await onOnes(layer, {}), ones);
  assertEquals(await onOnes(layer, { training: false }), ones);
  layer.dispose();
});

forEachBackend("in training it drops its share and scales the rest", async () => {
  const layer = new Dropout({ rate: 0.25 });
  const values = await onOnes(layer, { training: true });
  const dropped = values.filter((x) => x === 0).length;
  // Four standard deviations of so many draws.
  assertAlmostEquals(dropped / 4096, 0.25, 0.028);
  assert(values.every((x) => x === 0 || Math.abs(x - 4 / 3) < 1e-6));
  layer.dispose();
});

forEachBackend("with plain { training: true } the key advances by itself", async () => {
  const layer = new Dropout({ rate: 0.5 });
  assertNotEquals(
    await onOnes(layer, { training: true }),
    await onOnes(layer, { training: true }),
  );
  layer.dispose();
});

/** The mask of the first backend, for the others to agree with. */
let firstMask: Float32Array | undefined;

forEachBackend("a given step key decides the mask, on every backend the same", async () => {
  const [layer, twin] = [1, 2].map(() => new Dropout({ name: "mine", rate: 0.5 }));
  const other = new Dropout({ name: "other", rate: 0.5 });
  const keys = [[7, 3], [7, 4], [8, 3]].map((words) => tf.tensor1d(words, "int32"));
  const on = (each: Dropout, key: tf.Tensor1D) => onOnes(each, { training: true, stepKey: key });
  const mask = await on(layer!, keys[0]!);
  assertEquals(await on(twin!, keys[0]!), mask);
  firstMask ??= mask;
  assertEquals(mask, firstMask);
  assertNotEquals(await on(layer!, keys[1]!), mask, "the step does not matter");
  assertNotEquals(await on(layer!, keys[2]!), mask, "the seed does not matter");
  assertNotEquals(await on(other, keys[0]!), mask, "two layers share a mask");
  tf.dispose(keys);
  for (const each of [layer!, twin!, other]) each.dispose();
});
