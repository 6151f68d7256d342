import { assertEquals } from "@std/assert";
import {
  hostForward,
  hostGradKernels,
  hostGradX,
  hostGradXOfMany,
} from "../../../lib/kernels/matmul/host.ts";
import { type TensorInfo, tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";

const onHosts = { backends: ["wasm", "cpu"] as const };

async function take(info: TensorInfo): Promise<number[]> {
  const tensor = tf.engine().makeTensorFromTensorInfo(info);
  const values = [...await tensor.data()];
  tensor.dispose();
  return values;
}

/** [rows, columns] of small whole numbers, whose products are exact. */
const matrix = (rows: number, columns: number, step: number) =>
  tf.tidy(() => tf.range(0, rows * columns).mul(step).mod(7).reshape([rows, columns]));

const matMul = (a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false) =>
  tf.tidy(() => tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, transposeA, transposeB));

// Fewer rows than columns, and more: the wasm backend turns another operand.
for (const [rows, inner, outer] of [[3, 20, 18], [40, 5, 6]] as const) {
  forEachBackend(`a dense layer of ${rows} rows and its gradients`, async () => {
    const [x, kernel] = [matrix(rows, inner, 3), matrix(inner, outer, 5)];
    const dzs = [matrix(rows, outer, 2), matrix(rows, outer, 4)];
    const expected = [
      matMul(x, kernel),
      matMul(dzs[0]!, kernel, false, true),
      matMul(x, dzs[0]!, true),
      matMul(x, dzs[1]!, true),
    ];
    const values = await Promise.all(expected.map(async (t) => [...await t.data()]));
    assertEquals(await take(hostForward(x, kernel)), values[0]);
    assertEquals(await take(hostGradX(dzs[0]!, kernel)), values[1]);
    const [first, second] = hostGradKernels(x, dzs);
    assertEquals([await take(first!), await take(second!)], [values[2], values[3]]);
    const sum = tf.tidy(() => expected[1]!.add(matMul(dzs[1]!, kernel, false, true)));
    assertEquals(await take(hostGradXOfMany(dzs, [kernel, kernel])), [...await sum.data()]);
    tf.dispose([x, kernel, dzs, expected, sum]);
  }, onHosts);
}
