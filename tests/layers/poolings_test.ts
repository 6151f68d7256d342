import { assertAlmostEquals, assertEquals } from "@std/assert";
import { type PoolingName, poolings } from "../../lib/layers/poolings.ts";
import type { Pooling } from "../../lib/layers/poolings/pooling.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

/** Of two images of three tokens of two numbers each. */
const expected: Record<PoolingName, number[]> = {
  flatten: [1, 2, 3, 4, 5, 9, 7, 8, 9, 10, 11, 15],
  mean: [3, 5, 9, 11],
  token: [1, 2, 7, 8],
  // Its scores are the first numbers of the tokens: weights by softmax of 1, 3, 5 and of 7, 9, 11.
  sequence: [4.701874184441737, 8.302314181033742, 10.701874184441737, 14.302314181033742],
};

forEachBackend("a pooling's layer makes a vector of the width that it names", async () => {
  for (const [name, pooling] of Object.entries(poolings) as [PoolingName, Pooling][]) {
    const layer = pooling.layer("pooling", { prefix: 0, heads: 1 });
    const tokens = tf.tensor3d([1, 2, 3, 4, 5, 9, 7, 8, 9, 10, 11, 15], [2, 3, 2]);
    if (pooling.weights) {
      (layer.apply(tokens) as tf.Tensor).dispose();
      const shapes = layer.weights.map(({ originalName, shape }) => [
        originalName.replaceAll("/", "."),
        shape,
      ]);
      assertEquals(shapes, pooling.weights(2), name);
      tf.tidy(() => layer.setWeights([tf.tensor2d([1, 0], [2, 1]), tf.tensor1d([3])]));
    }
    const pooled = layer.apply(tokens) as tf.Tensor;
    assertEquals(pooled.shape, [2, pooling.width(3, 2, 1)], name);
    assertEquals(layer.computeOutputShape([2, 3, 2]), pooled.shape, name);
    const values = [...await pooled.data()];
    values.forEach((value, i) => assertAlmostEquals(value, expected[name]![i]!, 1e-5, name));
    tf.dispose([tokens, pooled]);
    if (pooling.weights) layer.dispose();
  }
});
