import { assertEquals } from "@std/assert";
import { countNonFinite } from "../../../lib/kernels/optimizer/count_non_finite.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";

forEachBackend("countNonFinite counts NaN and both infinities, and nothing else", async () => {
  const count = tf.zeros([1]) as tf.Tensor1D;
  const expected: number[] = [];
  const found: number[] = [];
  let total = 0;
  for (const value of [0, NaN, -1, Infinity, 3.4e38, -Infinity, 1e-45, -NaN]) {
    tf.tidy(() => countNonFinite(count, tf.scalar(value)));
    expected.push(total += Number.isFinite(value) ? 0 : 1);
    found.push((await count.data())[0]!);
  }
  assertEquals(found, expected);
  count.dispose();
});
