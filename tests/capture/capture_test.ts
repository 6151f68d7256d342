import { assert, assertEquals, assertRejects } from "@std/assert";
import { PlainConvnet } from "../../bench/plain_convnet.ts";
import { capture } from "../../lib/capture/capture.ts";
import { CaptureError } from "../../lib/capture/intercept.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { assertRefused, captureOfX, onWebgpu, valuesOf, variableOf } from "./captures.ts";

forEachBackend("a convnet of plain tfjs trains to the same weights", async () => {
  const [plain, net] = [new PlainConvnet(), new PlainConvnet()];
  const inputsOf = (step: number) => ({
    images: tf.tensor(PlainConvnet.imagesOf(step), PlainConvnet.inputShape),
    labels: tf.tensor(PlainConvnet.labelsOf(step), PlainConvnet.labelShape),
  });
  const losses: number[] = [];
  for (let step = 0; step < 20; step++) {
    const { images, labels } = inputsOf(step);
    const loss = plain.step(images, labels);
    losses.push((await loss.data())[0]!);
    tf.dispose([loss, images, labels]);
  }
  const inputs = inputsOf(0);
  const made = await capture({ inputs, fn: (i) => net.step(i.images, i.labels) });
  tf.dispose(inputs);
  for (let step = 1; step < 20; step++) {
    made.write("images", PlainConvnet.imagesOf(step));
    made.write("labels", PlainConvnet.labelsOf(step));
    made.replay();
    assertEquals((await made.outputs.data())[0], losses[step]);
  }
  for (const [i, variable] of plain.variables.entries()) {
    assertEquals(await net.variables[i]!.data(), await variable.data());
  }
  const { dispatches, passes, plannedBytes, totalBytes } = made.stats;
  assert(dispatches > 80 && passes === 1, `${dispatches} dispatches in ${passes} passes`);
  assert(plannedBytes < 0.6 * totalBytes, `planned ${plannedBytes} of ${totalBytes} bytes`);
  made.dispose();
  plain.dispose();
  net.dispose();
}, onWebgpu);

forEachBackend("capture refuses data from JavaScript that changes", async () => {
  let calls = 0;
  await assertRefused(({ x }) => tf.add(x, tf.scalar(calls++)), "Add gets 4 bytes");
  await assertRefused(({ x }) => tf.dropout(x, 0.5), "bytes from JavaScript", "input");
  // The same numbers at each call are constants.
  const captured = await captureOfX(({ x }) => tf.mul(tf.add(x, 1), tf.tensor1d([2, 3])));
  captured.replay();
  assertEquals(await valuesOf(captured.outputs), [4, 9]);
  captured.dispose();
}, onWebgpu);

forEachBackend("capture refuses shapes and choices that change", async () => {
  let calls = 0;
  await assertRefused(({ x }) => tf.sum(tf.tile(x, [++calls])), "not do the same", "Tile");
  calls = 0;
  await assertRefused(({ x }) => ++calls % 2 ? tf.exp(x) : tf.abs(tf.exp(x)), "not do the same");
}, onWebgpu);

forEachBackend("capture without a warm-up changes nothing", async () => {
  const v = variableOf([1, 2]);
  const x = tf.tensor1d([1, 1]);
  const captured = await capture({
    inputs: { x },
    fn: ({ x }) => v.assign(tf.add(v, x) as tf.Tensor1D),
    warmup: false,
  });
  assertEquals(await valuesOf(v), [1, 2]);
  captured.replay();
  assertEquals(await valuesOf(v), [2, 3]);
  captured.dispose();
  tf.dispose([v, x]);
}, onWebgpu);

forEachBackend("capture is refused on host backends", async () => {
  await assertRejects(() => capture(() => tf.zeros([1])), CaptureError, "current one is cpu");
}, { backends: ["cpu"] });
