import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { PlainConvnet } from "../../bench/plain_convnet.ts";
import { capture, CaptureError } from "../../lib/capture/capture.ts";
import { webgpuBackend } from "../../lib/backend/compute.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const onWebgpu = { backends: ["webgpu"] as const };

const variableOf = (values: number[]) => tf.tidy(() => tf.variable(tf.tensor1d(values)));
const valuesOf = async (tensor: tf.Tensor) => [...await tensor.data()];

/** Captures a function of one input x, float32 [2], initially [1, 2]. */
async function captureOfX<O>(fn: (inputs: { x: tf.Tensor }) => O) {
  const x = tf.tensor1d([1, 2]);
  try {
    return await capture({ inputs: { x }, fn });
  } finally {
    x.dispose();
  }
}

/** Asserts that capturing is refused with a message that has all `parts`. */
async function assertRefused(fn: (inputs: { x: tf.Tensor }) => unknown, ...parts: string[]) {
  const error = await assertRejects(() => captureOfX(fn), CaptureError) as Error;
  for (const part of parts) assert(error.message.includes(part), error.message);
}

forEachBackend("a replay computes with what was written to its inputs", async () => {
  const record = await captureOfX(({ x }) => ({ sum: tf.sum(x), parts: [tf.mul(x, x), x] }));
  const { sum, parts } = record.outputs;
  record.replay();
  assertEquals(await valuesOf(sum), [3]);
  const values = Float32Array.of(3, 4);
  record.write("x", values);
  values.fill(0);
  record.replay();
  record.replay();
  assertEquals(await valuesOf(sum), [7]);
  assertEquals(await Promise.all(parts.map(valuesOf)), [[9, 16], [3, 4]]);
  record.dispose();
}, onWebgpu);

forEachBackend("variables go on from replay to replay", async () => {
  const [a, b, last] = [variableOf([1, 2]), variableOf([10, 20]), variableOf([0, 0])];
  const record = await captureOfX(({ x }) => {
    const sum = tf.add(a, x);
    // Each gets what the other one had.
    a.assign(b as unknown as tf.Tensor1D);
    b.assign(sum as tf.Tensor1D);
    last.assign(tf.tensor1d([5, 6]));
  });
  // The warm-up was a step: a = [10, 20], b = [2, 4].
  assertEquals([await valuesOf(a), await valuesOf(b)], [[10, 20], [2, 4]]);
  record.replay();
  assertEquals([await valuesOf(a), await valuesOf(b)], [[2, 4], [11, 22]]);
  record.replay();
  assertEquals([await valuesOf(a), await valuesOf(b)], [[11, 22], [3, 6]]);
  assertEquals(await valuesOf(last), [5, 6]);
  record.dispose();
  assertEquals(await valuesOf(a), [11, 22]);
  tf.dispose([a, b, last]);
}, onWebgpu);

forEachBackend("a convnet of plain tfjs trains to the same weights", async () => {
  const [plain, captured] = [new PlainConvnet(), new PlainConvnet()];
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
  const record = await capture({ inputs, fn: (i) => captured.step(i.images, i.labels) });
  tf.dispose(inputs);
  for (let step = 1; step < 20; step++) {
    record.write("images", PlainConvnet.imagesOf(step));
    record.write("labels", PlainConvnet.labelsOf(step));
    record.replay();
    assertEquals((await record.outputs.data())[0], losses[step]);
  }
  for (const [i, variable] of plain.variables.entries()) {
    assertEquals(await captured.variables[i]!.data(), await variable.data());
  }
  const { dispatches, passes, plannedBytes, totalBytes } = record.stats;
  assert(dispatches > 80 && passes === 1, `${dispatches} dispatches in ${passes} passes`);
  assert(plannedBytes < 0.6 * totalBytes, `planned ${plannedBytes} of ${totalBytes} bytes`);
  record.dispose();
  plain.dispose();
  captured.dispose();
}, onWebgpu);

forEachBackend("a replay makes nothing", async () => {
  const net = new PlainConvnet();
  const images = tf.tensor(PlainConvnet.imagesOf(0), PlainConvnet.inputShape);
  const labels = tf.tensor(PlainConvnet.labelsOf(0), PlainConvnet.labelShape);
  const record = await capture({
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
    record.write("images", PlainConvnet.imagesOf(i)).write("labels", PlainConvnet.labelsOf(i));
    record.replay();
  }
  const after = tf.memory();
  restore.forEach((undo) => undo());
  assertEquals(counts, { createCommandEncoder: 3, submit: 3, writeBuffer: 3 });
  assertEquals(after, before);
  record.dispose();
  tf.dispose([images, labels]);
  net.dispose();
}, onWebgpu);

forEachBackend("what tfjs was asked before a replay sees the values before it", async () => {
  const record = await captureOfX(({ x }) => tf.square(x));
  record.replay();
  const earlier = tf.add(record.outputs, 1);
  record.write("x", Float32Array.of(5, 6)).replay();
  const later = tf.add(record.outputs, 1);
  assertEquals([await valuesOf(earlier), await valuesOf(later)], [[2, 5], [26, 37]]);
  tf.dispose([earlier, later]);
  record.dispose();
}, onWebgpu);

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

forEachBackend("capture refuses data from JavaScript that changes", async () => {
  let calls = 0;
  await assertRefused(({ x }) => tf.add(x, tf.scalar(calls++)), "Add gets 4 bytes");
  await assertRefused(({ x }) => tf.dropout(x, 0.5), "bytes from JavaScript", "input");
  // The same numbers at each call are constants.
  const record = await captureOfX(({ x }) => tf.mul(tf.add(x, 1), tf.tensor1d([2, 3])));
  record.replay();
  assertEquals(await valuesOf(record.outputs), [4, 9]);
  record.dispose();
}, onWebgpu);

forEachBackend("capture refuses shapes and choices that change", async () => {
  let calls = 0;
  await assertRefused(({ x }) => tf.sum(tf.tile(x, [++calls])), "not do the same", "Tile");
  calls = 0;
  await assertRefused(({ x }) => ++calls % 2 ? tf.exp(x) : tf.abs(tf.exp(x)), "not do the same");
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

forEachBackend("a record can borrow memory, as long as its owner lives", async () => {
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
  for (const record of [alone, borrower]) record.dispose();
  x.dispose();
}, onWebgpu);

forEachBackend("tensors over a buffer of the caller's own can be made inside", async () => {
  const { device } = webgpuBackend();
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const buffer = device.createBuffer({ size: 8, usage: STORAGE | COPY_SRC | COPY_DST });
  device.queue.writeBuffer(buffer, 0, Float32Array.of(5, 6));
  const record = await captureOfX(({ x }) =>
    tf.add(x, tf.tensor({ buffer, zeroCopy: true }, [2], "float32"))
  );
  record.replay();
  assertEquals(await valuesOf(record.outputs), [6, 8]);
  record.dispose();
  buffer.destroy();
}, onWebgpu);

forEachBackend("a tensor that was only on the host is brought to the device", async () => {
  const [small, v] = [tf.tensor1d([3, 4]), tf.tidy(() => tf.variable(tf.tensor1d([1, 1])))];
  const record = await capture({
    // tfjs computes this on the host, where both are; a replay cannot.
    fn: () => v.assign(tf.add(small, v) as tf.Tensor1D),
    warmup: false,
  });
  record.replay();
  record.replay();
  assertEquals(await valuesOf(v), [7, 9]);
  record.dispose();
  tf.dispose([small, v]);
}, onWebgpu);

forEachBackend("a record refuses wrong inputs, and use after dispose", async () => {
  const record = await captureOfX(({ x }) => tf.exp(x));
  assertThrows(() => record.write("z", new Float32Array(2)), CaptureError, `no input "z"`);
  assertThrows(() => record.write("x", new Float32Array(3)), CaptureError, "another shape");
  record.dispose();
  record.dispose();
  assertThrows(() => record.replay(), CaptureError, "disposed");
  assertThrows(() => record.write("x", new Float32Array(2)), CaptureError, "disposed");
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

forEachBackend("a record refuses to go on with tensors that are no longer there", async () => {
  const [v, other] = [variableOf([1, 2]), tf.tensor1d([3, 4])];
  const record = await captureOfX(({ x }) => {
    v.assign(tf.add(v, x) as tf.Tensor1D);
    return tf.mul(v, other);
  });
  const clone = v.clone();
  assertThrows(() => record.replay(), CaptureError, "shares its data");
  clone.dispose();
  record.replay();
  other.dispose();
  assertThrows(() => record.replay(), CaptureError, "disposed or given new data");
  record.dispose();
  v.dispose();
}, onWebgpu);

forEachBackend("a variable assigned after the capture makes the record stale", async () => {
  const v = variableOf([1, 2]);
  const record = await captureOfX(({ x }) => tf.add(v, x));
  assertEquals(record.staleness(), null);
  tf.tidy(() => v.assign(tf.tensor1d([3, 4])));
  assert(record.staleness()?.includes("capture again"));
  record.dispose();
  v.dispose();
}, onWebgpu);

forEachBackend("capture without a warm-up changes nothing", async () => {
  const v = variableOf([1, 2]);
  const x = tf.tensor1d([1, 1]);
  const record = await capture({
    inputs: { x },
    fn: ({ x }) => v.assign(tf.add(v, x) as tf.Tensor1D),
    warmup: false,
  });
  assertEquals(await valuesOf(v), [1, 2]);
  record.replay();
  assertEquals(await valuesOf(v), [2, 3]);
  record.dispose();
  tf.dispose([v, x]);
}, onWebgpu);

forEachBackend("capture is refused on host backends", async () => {
  await assertRejects(() => capture(() => tf.zeros([1])), CaptureError, "current one is cpu");
}, { backends: ["cpu"] });
