import { assertEquals } from "@std/assert";
import { type PoolingName, poolings } from "../../lib/layers/poolings.ts";
import type { Pooling } from "../../lib/layers/poolings/pooling.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

/** Of two images of three tokens of two numbers each. */
const expected: Record<PoolingName, number[]> = {
  flatten: [1, 2, 3, 4, 5, 9, 7, 8, 9, 10, 11, 15],
  mean: [3, 5, 9, 11],
  token: [1, 2, 7, 8],
};

forEachBackend("a pooling's layer makes a vector of the width that it names", async () => {
  for (const [name, pooling] of Object.entries(poolings) as [PoolingName, Pooling][]) {
    const layer = pooling.layer("pooling");
    const tokens = tf.tensor3d([1, 2, 3, 4, 5, 9, 7, 8, 9, 10, 11, 15], [2, 3, 2]);
    const pooled = layer.apply(tokens) as tf.Tensor;
    assertEquals(pooled.shape, [2, pooling.width(3, 2)], name);
    assertEquals(layer.computeOutputShape([2, 3, 2]), pooled.shape, name);
    assertEquals([...await pooled.data()], expected[name], name);
    tf.dispose([tokens, pooled]);
  }
});
