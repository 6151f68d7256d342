import { assertAlmostEquals, assertEquals } from "@std/assert";
import { sumLeading } from "../../lib/kernels/sum_leading.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachForm } from "./forms.ts";

forEachForm("tensors of different sizes are summed over their leading parts", async () => {
  // Five are more than one dispatch takes.
  const shapes = [[3, 2], [3, 1], [3, 4, 5], [3, 7], [3, 65]];
  const parts = shapes.map((shape) =>
    tf.tidy(() => tf.range(0, tf.util.sizeFromShape(shape)).reshape(shape))
  );
  const sums = sumLeading(parts, 3).map((info) => tf.engine().makeTensorFromTensorInfo(info));
  for (const [i, sum] of sums.entries()) {
    assertEquals(sum.shape, shapes[i]!.slice(1));
    const { size } = sum;
    const expected = Array.from({ length: size }, (_, k) => 3 * k + 3 * size);
    assertEquals([...await sum.data()], expected);
  }
  tf.dispose([parts, sums]);
}, { backends: ["webgpu"] });

forEachForm("many parts are summed, in the same order every time", async () => {
  for (const [count, size] of [[1, 300], [37, 5], [100, 33]] as const) {
    const numbers = Float32Array.from({ length: count * size }, (_, i) => Math.sin(i));
    const parts = tf.tensor2d(numbers, [count, size]);
    const sums = [0, 1].map(() =>
      tf.engine().makeTensorFromTensorInfo(sumLeading([parts], count)[0]!)
    );
    const [first, second] = await Promise.all(sums.map((sum) => sum.data()));
    assertEquals(first, second);
    first!.forEach((sum, i) => {
      let expected = 0;
      for (let part = 0; part < count; part++) expected += numbers[part * size + i]!;
      assertAlmostEquals(sum, expected, 1e-5);
    });
    tf.dispose([parts, sums]);
  }
}, { backends: ["webgpu"] });
