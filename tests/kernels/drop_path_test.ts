import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { dropPath } from "../../lib/kernels/drop_path.ts";
import { dropThreshold, randomBits, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";

const rate = 0.3;
const stream = 77;

/** Factor of each image's branch, in float64: 0 or 1 / (1 - rate). */
function factors(batch: number, [seed, step]: [number, number]): number[] {
  const key = streamKey(seed, stream, step);
  return Array.from({ length: batch }, (_, image) => {
    return randomBits(key, image) < dropThreshold(rate) ? 0 : 1 / (1 - rate);
  });
}

for (const shape of [[40, 3, 4], [17, 5], [9, 1], [1, 2, 6]]) {
  forEachBackend(`dropPath of [${shape}] matches float64, forward and backward`, async () => {
    const [batch] = shape as [number];
    const [branch, residual, weights] = [1, 2, 3].map((seed) => randomTensor(shape, seed));
    const stepKey = tf.tensor1d([5, 12], "int32");
    const path = { rate, stream, stepKey };
    const y = dropPath(branch!, residual!, path);
    const [dBranch, dResidual] = tf.tidy(() =>
      tf.grads((a, b) => dropPath(a!, b!, path).mul(weights!).sum() as tf.Scalar)(
        [branch!, residual!],
      )
    );
    const [b, r, w] = [
      await valuesOf(branch!),
      await valuesOf(residual!),
      await valuesOf(weights!),
    ];
    const factor = factors(batch, [5, 12]);
    const found = [await valuesOf(y), await valuesOf(dBranch!), await valuesOf(dResidual!)];
    const ofImage = b.length / batch;
    for (let i = 0; i < b.length; i++) {
      const f = factor[Math.floor(i / ofImage)]!;
      const expected = [r[i]! + f * b[i]!, f * w[i]!, w[i]!];
      expected.forEach((value, n) =>
        assertAlmostEquals(found[n]![i]!, value, 1e-6, `${n} at ${i}`)
      );
    }
    tf.dispose([branch, residual, weights, y, dBranch, dResidual, stepKey].map((t) => t!));
  });
}

forEachBackend(
  "dropPath leaves out about its share of images, and an infinite branch with them",
  async () => {
    const batch = 4000;
    const stepKey = tf.tensor1d([1, 0], "int32");
    const [branch, residual] = [
      tf.tensor2d(new Float32Array(batch).fill(Infinity), [batch, 1]),
      tf.ones([batch, 1]),
    ];
    const y = dropPath(branch, residual, { rate, stream, stepKey });
    const values = await valuesOf(y);
    const dropped = values.filter((value) => value === 1).length;
    assertEquals(values.filter((value) => value === Infinity).length, batch - dropped);
    // Four standard deviations of so many draws.
    assert(
      Math.abs(dropped / batch - rate) < 4 * Math.sqrt(rate * (1 - rate) / batch),
      `${dropped}`,
    );
    tf.dispose([stepKey, branch, residual, y]);
  },
);

forEachBackend("dropPath refuses shapes that differ and a rate that is no share", () => {
  tf.tidy(() => {
    const stepKey = tf.tensor1d([1, 0], "int32");
    const [a, b] = [tf.ones([2, 3]), tf.ones([3, 2])];
    assertThrows(() => dropPath(a, b, { rate, stream, stepKey }), Error, "both need one shape");
    assertThrows(() => dropPath(a, a, { rate: 1, stream, stepKey }), RangeError, "not 1");
  });
}, { backends: ["cpu"] });
