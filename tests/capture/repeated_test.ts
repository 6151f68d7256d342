import { assertEquals } from "@std/assert";
import { Repeated } from "../../lib/capture/repeated.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const valuesOf = (...values: number[]) => {
  return { x: { shape: [values.length], values: Float32Array.from(values) } };
};

forEachBackend(
  "a repeated computation gives the same, captured from the second time",
  async (backend) => {
    const weight = tf.tidy(() => tf.variable(tf.scalar(2)));
    const doubled = new Repeated(({ x }) => tf.mul(x!, weight));
    const captured: boolean[] = [];
    const results: number[][] = [];
    for (const values of [[1, 2], [3, 4], [5, 6], [7], [8, 9], [1, 1]]) {
      results.push([...await doubled.run(valuesOf(...values))]);
      captured.push(doubled.isCaptured);
    }
    assertEquals(results, [[2, 4], [6, 8], [10, 12], [14], [16, 18], [2, 2]]);
    // The record outlives a call of another shape, such as an epoch's last batch.
    const expected = [false, true, true, false, true, true];
    assertEquals(captured, backend === "webgpu" ? expected : expected.map(() => false));
    tf.tidy(() => weight.assign(tf.scalar(3)));
    assertEquals([...await doubled.run(valuesOf(1, 2))], [3, 6]);
    doubled.dispose();
    weight.dispose();
  },
);

forEachBackend("what cannot be captured is repeated plainly", async () => {
  let calls = 0;
  const counted = new Repeated(({ x }) => tf.add(x!, tf.scalar(10 * calls++)));
  assertEquals([...await counted.run(valuesOf(1))], [1]);
  const before = calls;
  const second = [...await counted.run(valuesOf(1))];
  assertEquals([second, counted.isCaptured], [[1 + 10 * (calls - 1)], false]);
  assertEquals(calls - before, 3, "two recordings and the call itself");
  await counted.run(valuesOf(1));
  assertEquals(calls - before, 4, "no more recordings");
  counted.dispose();
}, { backends: ["webgpu"] });
