import { assert, assertEquals } from "@std/assert";
import { halfOf } from "../../lib/backend/half.ts";
import { webgpuInternals } from "../../lib/backend/tfjs_internals.ts";
import { inPrecision, type Role } from "../../lib/backend/precision.ts";
import { copied } from "../../lib/backend/widen.ts";
import { squaredNorm } from "../../lib/kernels/optimizer/squared_norm.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { unlessThere } from "../gpu_features.ts";

const onGpu = { backends: ["webgpu"], lacks: unlessThere("shader-f16") } as const;

/** The numbers as a tensor of f16. */
function halves(values: number[], role: Role = "activation"): tf.Tensor {
  return tf.tidy(() => {
    const made = inPrecision("f16", () => copied(tf.tensor1d(values), role));
    return tf.engine().makeTensorFromTensorInfo(made);
  });
}

forEachBackend("a tensor of f16 has half the bytes and is read as float32", async () => {
  const exact = [1, -2.5, 3, 0.25];
  const rounded = [0.333251953125, 65504, -(2 ** -23)];
  for (const [values, read] of [[exact, exact], [[1 / 3, 65503, -1e-7], rounded], [[7], [7]]]) {
    const x = halves(values!);
    const { resource } = webgpuInternals().tensorMap.get(x.dataId);
    assertEquals(resource!.size, 4 * Math.ceil(values!.length / 2));
    assertEquals([...await x.data()], read);
    x.dispose();
  }
}, onGpu);

forEachBackend("operations of tfjs's own get float32, and make it", async () => {
  const x = halves([1, 2, 3, 4, 5, 6]);
  const matrix = x.reshape([2, 3]);
  const results = tf.tidy(() => [matrix.sum(1), matrix.transpose(), tf.concat([x, x]), x.add(x)]);
  assert(halfOf(matrix) && results.every((result) => !halfOf(result)));
  assertEquals(await Promise.all(results.slice(0, 2).map((result) => result.array())), [
    [6, 15],
    [[1, 4], [2, 5], [3, 6]],
  ]);
  assertEquals([...await results[3]!.data()], [2, 4, 6, 8, 10, 12]);
  tf.dispose([x, matrix, results]);
}, onGpu);

forEachBackend("gradients keep their digits far below an activation's least", async () => {
  const values = [3.9, 1e-4, -3e-8, 5e-9];
  const gradients = halves(values, "gradient");
  const activations = halves(values);
  const errors = (read: Iterable<number>) =>
    Math.max(...[...read].map((x, i) => Math.abs(x / values[i]! - 1)));
  assert(errors(await gradients.data()) < 2 ** -11);
  assert(errors(await activations.data()) > 0.5);
  tf.dispose([gradients, activations]);
}, onGpu);

forEachBackend("what is too large for f16 becomes infinite", async () => {
  const [activation, gradient] = [halves([7e4, -7e4]), halves([5, 1], "gradient")];
  assertEquals([...await activation.data()], [Infinity, -Infinity]);
  assertEquals([...await gradient.data()], [Infinity, 1]);
  // By which an update is left out.
  const norm = squaredNorm([gradient]);
  assertEquals([...await norm.data()], [Infinity]);
  tf.dispose([activation, gradient, norm]);
}, onGpu);

forEachBackend("without f16 nothing is stored as it", async () => {
  const x = tf.tensor1d([1 / 3, 2]);
  const made = tf.engine().makeTensorFromTensorInfo(copied(x, "activation"));
  assertEquals(halfOf(made), undefined);
  assertEquals([...await made.data()], [Math.fround(1 / 3), 2]);
  tf.dispose([x, made]);
}, { backends: ["webgpu"] });
