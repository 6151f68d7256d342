import { assertEquals } from "@std/assert";
import { sumLeading } from "../../lib/kernels/sum_leading.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

forEachBackend("tensors of different sizes are summed over their leading parts", async () => {
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
