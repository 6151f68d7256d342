import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { PlainConvnet } from "../../bench/plain_convnet.ts";
import { webgpuBackend } from "../../lib/backend/compute.ts";
import { capture } from "../../lib/capture/capture.ts";
import { CaptureError } from "../../lib/capture/intercept.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { captureOfX, onWebgpu, valuesOf, variableOf } from "./captures.ts";

forEachBackend("a replay computes with what was written to its inputs", async () => {
  const captured = await captureOfX(({ x }) => ({ sum: tf.sum(x), parts: [tf.mul(x, x), x] }));
  const { sum, parts } = captured.outputs;
  captured.replay();
  assertEquals(await valuesOf(sum), [3]);
  const values = Float32Array.of(3, 4);
  captured.write("x", values);
  values.fill(0);
  captured.replay();
  captured.replay();
  assertEquals(await valuesOf(sum), [7]);
  assertEquals(await Promise.all(parts.map(valuesOf)), [[9, 16], [3, 4]]);
  captured.dispose();
}, onWebgpu);

forEachBackend("a replay makes nothing", async () => {
  const net = new PlainConvnet();
  const images = tf.tensor(PlainConvnet.imagesOf(0), PlainConvnet.inputShape);
  const labels = tf.tensor(PlainConvnet.labelsOf(0), PlainConvnet.labelShape);
  const captured = await capture({
    inputs: { images, labels },
    fn: (i) => net.step(i.images, i.labels),
  });
  const { device, queue } = webgpuBackend();
  const counts: Record<string, number> = {};
  const restore: (() => void)[] = [];
  for (
    const [target, name] of [
      [device, "createBuffer"],
      [device, "createBindGroup"],
      [device, "createCommandEncoder"],
      [queue, "submit"],
      [queue, "writeBuffer"],
    ] as unknown as [Record<string, unknown>, string][]
  ) {
    const own = Object.getOwnPropertyDescriptor(target, name);
    const real = (target[name] as (...args: unknown[]) => unknown).bind(target);
    target[name] = (...args: unknown[]) => {
      counts[name] = (counts[name] ?? 0) + 1;
      return real(...args);
    };
    restore.push(() => {
      if (own) Object.defineProperty(target, name, own);
      else delete target[name];
    });
  }
  const before = tf.memory();
  for (let i = 0; i < 3; i++) {
    captured.write("images", PlainConvnet.imagesOf(i)).write("labels", PlainConvnet.labelsOf(i));
    captured.replay();
  }
  const after = tf.memory();
  restore.forEach((undo) => undo());
  assertEquals(counts, { createCommandEncoder: 3, submit: 3, writeBuffer: 3 });
  assertEquals(after, before);
  captured.dispose();
  tf.dispose([images, labels]);
  net.dispose();
}, onWebgpu);

forEachBackend("what tfjs was asked before a replay sees the values before it", async () => {
  const captured = await captureOfX(({ x }) => tf.square(x));
  captured.replay();
  const earlier = tf.add(captured.outputs, 1);
  captured.write("x", Float32Array.of(5, 6)).replay();
  const later = tf.add(captured.outputs, 1);
  assertEquals([await valuesOf(earlier), await valuesOf(later)], [[2, 5], [26, 37]]);
  tf.dispose([earlier, later]);
  captured.dispose();
}, onWebgpu);

forEachBackend("a capture can borrow memory, as long as its owner lives", async () => {
  const x = tf.tensor1d([1, 2]);
  const chain = (x: tf.Tensor) => tf.sum(tf.mul(tf.exp(tf.add(x, 1)), 2));
  const owner = await capture({ inputs: { x }, fn: ({ x }) => chain(x) });
  const request = { inputs: { x }, fn: ({ x }: { x: tf.Tensor }) => chain(tf.neg(x)) };
  const alone = await capture(request);
  const borrower = await capture({ ...request, memoryOf: owner });
  assert(borrower.stats.buffers < alone.stats.buffers);
  alone.replay();
  borrower.replay();
  owner.replay();
  assertEquals(await valuesOf(borrower.outputs), await valuesOf(alone.outputs));
  owner.dispose();
  assertThrows(() => borrower.replay(), CaptureError, "disposed");
  for (const captured of [alone, borrower]) captured.dispose();
  x.dispose();
}, onWebgpu);

forEachBackend("a capture refuses wrong inputs, and use after dispose", async () => {
  const captured = await captureOfX(({ x }) => tf.exp(x));
  assertThrows(() => captured.write("z", new Float32Array(2)), CaptureError, `no input "z"`);
  assertThrows(() => captured.write("x", new Float32Array(3)), CaptureError, "another shape");
  captured.dispose();
  captured.dispose();
  assertThrows(() => captured.replay(), CaptureError, "disposed");
  assertThrows(() => captured.write("x", new Float32Array(2)), CaptureError, "disposed");
}, onWebgpu);

/** Captures x -> x * 2 of a given x, and what a replay says of it and of what is written then. */
async function doubledInput(x: tf.Tensor, ...writes: (Float32Array | Int32Array | Uint8Array)[]) {
  const made = await capture({ inputs: { x }, fn: ({ x }) => tf.mul(x.toFloat(), 2) });
  x.dispose();
  const results: number[][] = [];
  try {
    made.replay();
    results.push(await valuesOf(made.outputs));
    for (const values of writes) {
      made.write("x", values).replay();
      results.push(await valuesOf(made.outputs));
    }
  } finally {
    made.dispose();
  }
  return results;
}

forEachBackend(
  "inputs whose numbers tfjs keeps in another type of array are converted",
  async () => {
    // An Int32Array, though float32.
    const oneHot = tf.tidy(() => tf.oneHot(tf.tensor1d([1, 0], "int32"), 3).toFloat());
    assertEquals((await oneHot.data()).constructor, Int32Array);
    assertEquals(await doubledInput(oneHot), [[0, 2, 0, 2, 0, 0]]);
    // Bytes, though float32 or int32.
    const isTrue = () => tf.tensor1d([true, false], "bool");
    assertEquals(await doubledInput(tf.tidy(() => isTrue().toFloat())), [[2, 0]]);
    assertEquals(await doubledInput(tf.tidy(() => isTrue().toInt())), [[2, 0]]);
    assertEquals(
      await doubledInput(isTrue(), Uint8Array.of(0, 1), Int32Array.of(1, 1), Float32Array.of(0, 1)),
      [[2, 0], [0, 2], [2, 2], [0, 2]],
    );
    assertEquals(
      await doubledInput(tf.tensor1d([1, 2]), Int32Array.of(-3, 4), Uint8Array.of(255, 0)),
      [[2, 4], [-6, 8], [510, 0]],
    );
    assertEquals(
      await doubledInput(tf.tensor1d([1, 2], "int32"), Float32Array.of(-3, 4)),
      [[2, 4], [-6, 8]],
    );
  },
  onWebgpu,
);

forEachBackend("numbers that the type of an input lacks are refused, and named", async () => {
  const error = async (x: tf.Tensor, values: Float32Array | Int32Array) =>
    (await assertRejects(() => doubledInput(x, values), CaptureError) as Error).message;
  assertEquals(
    await error(tf.tensor1d([1]), Int32Array.of(2 ** 24 + 1)),
    `Input "x" is float32 and got 16777217 in a Int32Array, which is no float32 number.`,
  );
  for (const value of [0.5, NaN, 2 ** 31]) {
    const message = await error(tf.tensor1d([1], "int32"), Float32Array.of(value));
    assert(message.includes(`is int32 and got ${value} in a Float32Array`), message);
  }
  const words = tf.tensor1d(["a"]);
  await assertRejects(
    () => capture({ inputs: { words }, fn: () => {} }),
    CaptureError,
    "is string",
  );
  words.dispose();
}, onWebgpu);

forEachBackend("a capture refuses to go on with tensors that are no longer there", async () => {
  const [v, other] = [variableOf([1, 2]), tf.tensor1d([3, 4])];
  const captured = await captureOfX(({ x }) => {
    v.assign(tf.add(v, x) as tf.Tensor1D);
    return tf.mul(v, other);
  });
  const clone = v.clone();
  assertThrows(() => captured.replay(), CaptureError, "shares its data");
  clone.dispose();
  captured.replay();
  other.dispose();
  assertThrows(() => captured.replay(), CaptureError, "disposed or given new data");
  captured.dispose();
  v.dispose();
}, onWebgpu);

forEachBackend("a variable assigned after the capture makes the capture stale", async () => {
  const v = variableOf([1, 2]);
  const captured = await captureOfX(({ x }) => tf.add(v, x));
  assertEquals(captured.staleness(), null);
  tf.tidy(() => v.assign(tf.tensor1d([3, 4])));
  assert(captured.staleness()?.includes("capture again"));
  captured.dispose();
  v.dispose();
}, onWebgpu);
