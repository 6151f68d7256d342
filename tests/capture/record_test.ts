import { assertEquals, assertRejects } from "@std/assert";
import { capture } from "../../lib/capture/capture.ts";
import { CaptureError } from "../../lib/capture/intercept.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { assertRefused, captureOfX, onWebgpu, valuesOf, variableOf } from "./captures.ts";

forEachBackend("variables go on from replay to replay", async () => {
  const [a, b, last] = [variableOf([1, 2]), variableOf([10, 20]), variableOf([0, 0])];
  const captured = await captureOfX(({ x }) => {
    const sum = tf.add(a, x);
    // Each gets what the other one had.
    a.assign(b as unknown as tf.Tensor1D);
    b.assign(sum as tf.Tensor1D);
    last.assign(tf.tensor1d([5, 6]));
  });
  // The warm-up was a step: a = [10, 20], b = [2, 4].
  assertEquals([await valuesOf(a), await valuesOf(b)], [[10, 20], [2, 4]]);
  captured.replay();
  assertEquals([await valuesOf(a), await valuesOf(b)], [[2, 4], [11, 22]]);
  captured.replay();
  assertEquals([await valuesOf(a), await valuesOf(b)], [[11, 22], [3, 6]]);
  assertEquals(await valuesOf(last), [5, 6]);
  captured.dispose();
  assertEquals(await valuesOf(a), [11, 22]);
  tf.dispose([a, b, last]);
}, onWebgpu);

forEachBackend("capture refuses asynchronous functions and tensors that stay behind", async () => {
  await assertRefused(({ x }) => Promise.resolve(x), "asynchronous");
  const kept: tf.Tensor[] = [];
  await assertRefused(({ x }) => void kept.push(tf.keep(tf.exp(x))), "Exp outlives");
  tf.dispose(kept);
  const outside = tf.tensor1d([1, 2]);
  let used = false;
  await assertRejects(
    () =>
      capture({
        fn: () => {
          const y = tf.exp(outside);
          if (used) outside.dispose();
          used = true;
          return y;
        },
      }),
    CaptureError,
    "disposes a tensor [2]",
  );
}, onWebgpu);

forEachBackend("a tensor that was only on the host is brought to the device", async () => {
  const [small, v] = [tf.tensor1d([3, 4]), tf.tidy(() => tf.variable(tf.tensor1d([1, 1])))];
  const captured = await capture({
    // tfjs computes this on the host, where both are; a replay cannot.
    fn: () => v.assign(tf.add(small, v) as tf.Tensor1D),
    warmup: false,
  });
  captured.replay();
  captured.replay();
  assertEquals(await valuesOf(v), [7, 9]);
  captured.dispose();
  tf.dispose([small, v]);
}, onWebgpu);
