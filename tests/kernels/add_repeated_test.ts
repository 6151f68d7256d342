import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { addRepeated } from "../../lib/kernels/add_repeated.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";

for (const shape of [[7, 5, 4], [1, 3, 2], [130, 9]]) {
  forEachBackend(`addRepeated to each of [${shape}], forward and backward`, async () => {
    const [x, repeated] = [randomTensor(shape, 1), randomTensor(shape.slice(1), 2)];
    const upstream = randomTensor(shape, 3);
    const { value, grads } = tf.valueAndGrads((x, r) => addRepeated(x!, r!))(
      [x, repeated],
      upstream,
    );
    const [a, b, dy] = [await valuesOf(x), await valuesOf(repeated), await valuesOf(upstream)];
    const sums = new Float64Array(b.length);
    dy.forEach((g, i) => sums[i % b.length]! += g);
    (await valuesOf(value)).forEach((y, i) =>
      assertAlmostEquals(y, a[i]! + b[i % b.length]!, 1e-6)
    );
    assertEquals(await valuesOf(grads[0]!), dy);
    (await valuesOf(grads[1]!)).forEach((g, i) => assertAlmostEquals(g, sums[i]!, 1e-5));
    tf.dispose([x, repeated, upstream, value, grads]);
  });
}

forEachBackend("addRepeated refuses shapes that do not fit", () => {
  tf.tidy(() => {
    assertThrows(() => addRepeated(tf.ones([2, 3]), tf.ones([2])), Error, "[2] to each of x [2,3]");
  });
}, { backends: ["cpu"] });
