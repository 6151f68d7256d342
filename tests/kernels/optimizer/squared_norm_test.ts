import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { squaredNorm } from "../../../lib/kernels/optimizer/squared_norm.ts";
import { randomUniform, streamKey } from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";

/** More tensors than one dispatch can bind; one large, one empty. */
const shapes = [
  [3, 5],
  [],
  [0, 4],
  [700, 1000],
  ...Array.from({ length: 40 }, (_, i) => [4 * i + 4]),
  ...Array.from({ length: 9 }, (_, i) => [2 * i + 1]),
];

function makeTensors(): tf.Tensor[] {
  return shapes.map((shape, k) => {
    const key = streamKey(2, k, 0);
    const values = Float32Array.from(
      { length: tf.util.sizeFromShape(shape) },
      (_, i) => 2 * randomUniform(key, i) - 1,
    );
    return tf.tensor(values, shape);
  });
}

forEachBackend("squaredNorm sums over all tensors as float64 does, twice the same", async () => {
  const tensors = makeTensors();
  let expected = 0;
  for (const tensor of tensors) for (const x of await tensor.data()) expected += x * x;
  const results: number[] = [];
  for (let i = 0; i < 2; i++) {
    const norm = squaredNorm(tensors);
    results.push((await norm.data())[0]!);
    norm.dispose();
  }
  assertAlmostEquals(results[0]! / expected, 1, 1e-6);
  assertEquals(results[1], results[0]);
  tf.dispose(tensors);
});

forEachBackend("squaredNorm of empty tensors is 0", async () => {
  const norm = tf.tidy(() => squaredNorm([tf.zeros([0, 3])]));
  assertEquals((await norm.data())[0], 0);
  norm.dispose();
});

forEachBackend("squaredNorm of no tensors is refused", () => {
  assertThrows(() => squaredNorm([]), Error, "no tensors");
}, { backends: ["cpu"] });
