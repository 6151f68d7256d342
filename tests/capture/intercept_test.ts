import { assertEquals } from "@std/assert";
import { webgpuBackend } from "../../lib/backend/compute.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { assertRefused, captureOfX, onWebgpu, valuesOf, variableOf } from "./captures.ts";

forEachBackend("capture refuses host reads", async () => {
  const v = variableOf([1, 2]);
  await assertRefused(({ x }) => {
    const y = tf.exp(x);
    y.data();
    return y;
  }, "reads a tensor on the host");
  await assertRefused(
    ({ x }) => tf.onesLike(x).mul(v.dataSync()[0]!),
    "reads a tensor on the host",
  );
  // A kernel of tfjs that computes on the host.
  await assertRefused(({ x }) =>
    tf.image.nonMaxSuppression(
      tf.reshape(tf.stack([x, x]), [1, 4]) as tf.Tensor2D,
      tf.sum(x).reshape([1]) as tf.Tensor1D,
      1,
    ), "NonMaxSuppression");
  v.dispose();
}, onWebgpu);

forEachBackend("tfjs works on after a refusal", async () => {
  const v = variableOf([1, 2]);
  await assertRefused(({ x }) => {
    v.assign(tf.add(v, x) as tf.Tensor1D);
    // The warm-up can do this, a recording cannot.
    v.data();
  }, "reads a tensor on the host");
  // The warm-up was a step, the refused recording was none.
  assertEquals(await valuesOf(v), [2, 4]);
  tf.tidy(() => v.assign(tf.mul(v, 2) as tf.Tensor1D));
  assertEquals(await valuesOf(v), [4, 8]);
  v.dispose();
}, onWebgpu);

forEachBackend("tensors over a buffer of the caller's own can be made inside", async () => {
  const { device } = webgpuBackend();
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const buffer = device.createBuffer({ size: 8, usage: STORAGE | COPY_SRC | COPY_DST });
  device.queue.writeBuffer(buffer, 0, Float32Array.of(5, 6));
  const captured = await captureOfX(({ x }) =>
    tf.add(x, tf.tensor({ buffer, zeroCopy: true }, [2], "float32"))
  );
  captured.replay();
  assertEquals(await valuesOf(captured.outputs), [6, 8]);
  captured.dispose();
  buffer.destroy();
}, onWebgpu);
