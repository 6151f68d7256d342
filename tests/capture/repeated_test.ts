import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { currentGpu } from "../../lib/backend/device.ts";
import { accumulateMetrics, zeroTotals } from "../../lib/kernels/accumulate_metrics.ts";
import { type InputValues, Repeated } from "../../lib/capture/repeated.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

type X = { x: tf.Tensor1D };
const onWebgpu = { backends: ["webgpu"] as const };

const valuesOf = (...values: number[]): Record<"x", InputValues> => {
  return { x: { shape: [values.length], values: Float32Array.from(values) } };
};

forEachBackend(
  "a repeated computation gives the same, captured from the second time",
  async (backend) => {
    const weight = tf.tidy(() => tf.variable(tf.scalar(2)));
    const doubled = new Repeated(({ x }: X) => tf.mul(x, weight));
    const captured: boolean[] = [];
    const results: number[][] = [];
    for (const values of [[1, 2], [3, 4], [5, 6], [7], [8, 9], [1], [1, 1]]) {
      results.push([...await doubled.read(valuesOf(...values))]);
      captured.push(doubled.captureOf({ x: [values.length] }) !== undefined);
    }
    assertEquals(results, [[2, 4], [6, 8], [10, 12], [14], [16, 18], [2], [2, 2]]);
    // The capture outlives a call of another shape, such as an epoch's last batch.
    const expected = [false, true, true, false, true, true, true];
    assertEquals(captured, backend === "webgpu" ? expected : expected.map(() => false));
    const why = backend === "webgpu" ? null : `the ${backend} backend cannot capture`;
    assertEquals(doubled.whyPlain, why);
    doubled.dispose();
    weight.dispose();
  },
);

forEachBackend("what changes variables is run, captured from the first time", async (backend) => {
  const sum = tf.tidy(() => tf.variable(tf.scalar(0)));
  let calls = 0;
  let prepared = 0;
  const adding = new Repeated(({ x }: X) => {
    calls++;
    sum.assign(tf.add(sum, tf.sum(x)) as tf.Scalar);
  }, { captureAt: 1, prepare: () => prepared++ });
  for (const values of [[1, 2], [3], [4, 5], [6]]) await adding.run(valuesOf(...values));
  assertEquals([...await sum.data()], [21]);
  // A capture calls the function twice, and no call was one in earnest.
  assertEquals([calls, prepared], [4, backend === "webgpu" ? 2 : 0]);
  adding.dispose();
  sum.dispose();
});

forEachBackend("a later capture borrows the memory of the first", async () => {
  const chained = new Repeated(({ x }: X) => tf.exp(tf.sum(tf.mul(tf.exp(x), 2))), {
    captureAt: 1,
  });
  const alone = new Repeated(({ x }: X) => tf.exp(tf.sum(tf.mul(tf.exp(x), 2))), {
    captureAt: 1,
  });
  for (const values of [[0, 0, 0], [0, 0]]) await chained.read(valuesOf(...values));
  await alone.read(valuesOf(0, 0));
  const [borrower, owner] = [chained, alone].map((c) => c.captureOf({ x: [2] })!.stats);
  assert(borrower!.buffers < owner!.buffers, `${borrower!.buffers} of ${owner!.buffers}`);
  assertEquals(borrower!.dispatches, owner!.dispatches);
  chained.dispose();
  alone.dispose();
}, onWebgpu);

forEachBackend("a stale capture is made anew, also for a shape that comes back", async () => {
  const weight = tf.tidy(() => tf.variable(tf.scalar(2)));
  const scaled = new Repeated(({ x }: X) => tf.mul(x, weight), { captureAt: 1 });
  await scaled.read(valuesOf(1, 2));
  await scaled.read(valuesOf(1));
  const first = scaled.captureOf({ x: [2] });
  tf.tidy(() => weight.assign(tf.scalar(3)));
  assertEquals([...await scaled.read(valuesOf(1))], [3]);
  assertEquals([...await scaled.read(valuesOf(1, 2))], [3, 6]);
  assert(scaled.captureOf({ x: [2] }) !== first);
  scaled.dispose();
  assertEquals([...await scaled.read(valuesOf(1, 2))], [3, 6]);
  scaled.dispose();
  weight.dispose();
}, onWebgpu);

forEachBackend("the type of values is told apart, as the shape is", async () => {
  const types: string[] = [];
  const halved = new Repeated(({ x }: X) => {
    types.push(x.dtype);
    return tf.div(x, tf.scalar(2, x.dtype));
  });
  const ints = { x: { shape: [1], values: Int32Array.of(5) } };
  for (let i = 0; i < 3; i++) {
    assertEquals([...await halved.read(ints)], [2]);
    assertEquals([...await halved.read(valuesOf(5))], [2.5]);
  }
  assertEquals(new Set(types), new Set(["int32", "float32"]));
  assertEquals(types.length, 6, "one plain call and two recordings of each");
  halved.dispose();
}, onWebgpu);

forEachBackend("what is read are floats, whatever tfjs keeps them in", async () => {
  const indices = { x: { shape: [2], values: Int32Array.of(1, 0) } };
  const fns: ((x: tf.Tensor1D) => tf.Tensor)[] = [
    (x) => tf.oneHot(x, 2).toFloat(),
    (x) => tf.oneHot(x, 2),
    (x) => tf.greater(tf.oneHot(x, 2), 0),
  ];
  for (const fn of fns) {
    const repeated = new Repeated(({ x }: X) => fn(x));
    for (let call = 0; call < 3; call++) {
      assertEquals(await repeated.read(indices), Float32Array.of(0, 1, 1, 0));
    }
    repeated.dispose();
  }
});

forEachBackend("what cannot be captured is repeated plainly", async () => {
  let calls = 0;
  const counted = new Repeated(({ x }: X) => tf.add(x, tf.scalar(10 * calls++)));
  assertEquals([...await counted.read(valuesOf(1))], [1]);
  const before = calls;
  const second = [...await counted.read(valuesOf(1))];
  assertEquals([second, counted.captureOf({})], [[1 + 10 * (calls - 1)], undefined]);
  assertEquals(calls - before, 3, "two recordings and the call itself");
  assert(counted.whyPlain?.includes("bytes from JavaScript"), `${counted.whyPlain}`);
  await counted.read(valuesOf(1));
  assertEquals(calls - before, 4, "no more recordings");
  counted.dispose();
}, onWebgpu);

forEachBackend("what a replay must not write to is computed plainly", async () => {
  const totals = zeroTotals(1);
  const clone = totals.clone();
  const adding = new Repeated(({ x }: X) => {
    accumulateMetrics(totals, 0, x.reshape([1, 3]) as tf.Tensor2D);
  }, { captureAt: 1 });
  await adding.run(valuesOf(4, 1, 0));
  assert(adding.whyPlain?.includes("shares its data"), `${adding.whyPlain}`);
  assertEquals([...await totals.data()], [4, 1, 0, 1]);
  adding.dispose();
  tf.dispose([totals, clone]);
}, onWebgpu);

forEachBackend("what must not be captured is not", async () => {
  const plain = new Repeated(({ x }: X) => tf.neg(x), { captureAt: 1, whyPlain: "I said so" });
  await plain.read(valuesOf(1));
  assertEquals([plain.whyPlain, plain.captureOf({})], ["I said so", undefined]);
  plain.dispose();
}, onWebgpu);

forEachBackend("an error that is no matter of capture is thrown", async () => {
  const broken = new Repeated(({ x }: X): tf.Tensor => {
    throw new RangeError(`${x.shape}`);
  }, { captureAt: 1 });
  const error = await broken.read(valuesOf(1)).catch((error) => error);
  assert(error instanceof RangeError);
  assertStrictEquals(broken.whyPlain, null);
}, onWebgpu);

forEachBackend("timers go on while a software device is long at work", async () => {
  if (!currentGpu()!.isSoftware) return;
  const total = tf.tidy(() => tf.variable(tf.scalar(0)));
  const power = new Repeated(({ x }: { x: tf.Tensor2D }) => {
    let result = x;
    for (let i = 0; i < 5; i++) result = tf.matMul(result, x);
    total.assign(tf.sum(result) as tf.Scalar);
  }, { captureAt: 1 });
  const size = 512;
  const x = { shape: [size, size], values: new Float32Array(size * size).fill(1 / size) };
  // The first may compile; the second is waited for, and tells how long one takes.
  await power.run({ x });
  await power.run({ x });
  const start = performance.now();
  let [last, longest] = [start, 0];
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  for (let i = 0; i < 3; i++) await power.run({ x });
  clearInterval(timer);
  const each = (performance.now() - start) / 3;
  assertEquals(Math.round((await total.data())[0]!), size);
  if (each > 250) assert(longest < 0.6 * each, `${longest} ms without a turn in ${each} ms`);
  power.dispose();
  total.dispose();
}, onWebgpu);
