import { assert, assertEquals, assertThrows } from "@std/assert";
import { scaleChannels } from "../../lib/kernels/scale_channels.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";

/** Result, and gradients of x and the factors, in float64; that of the residual is `upstream`. */
function reference(
  [x, factors, upstream, residual]: [Float32Array, Float32Array, Float32Array, Float32Array?],
  dim: number,
): Float64Array[] {
  const group = dim / factors.length;
  const [y, dx] = [new Float64Array(x.length), new Float64Array(x.length)];
  const dFactors = new Float64Array(factors.length);
  x.forEach((value, i) => {
    const at = Math.floor(i % dim / group);
    y[i] = value * factors[at]! + (residual?.[i] ?? 0);
    dx[i] = upstream[i]! * factors[at]!;
    dFactors[at]! += upstream[i]! * value;
  });
  return [y, dx, dFactors];
}

function worst(found: Float32Array, expected: Float64Array): number {
  assertEquals(found.length, expected.length);
  const largest = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
  return expected.reduce((most, x, i) => Math.max(most, Math.abs(x - found[i]!) / largest), 0);
}

/** A factor a channel, a factor a head; in vectors or not; rows in one run, or in several. */
const shapes: [shape: number[], count: number][] = [
  [[2, 5, 8], 8],
  [[3, 7], 7],
  [[2, 65, 12], 3],
  [[2, 65, 12], 2],
  [[130, 10], 5],
  [[4, 1, 6], 1],
];
for (const [shape, count] of shapes) {
  for (const isAdded of [false, true]) {
    const name = `scaleChannels of [${shape}] by ${count}${isAdded ? " with a residual" : ""}`;
    forEachBackend(`${name} matches float64, forward and backward`, async () => {
      const tensors = [1, 2, 3].map((seed) => randomTensor(shape, seed));
      const [x, upstream, residual] = tensors as [tf.Tensor, tf.Tensor, tf.Tensor];
      const factors = randomTensor([count], 4) as tf.Tensor1D;
      const inputs = isAdded ? [x, factors, residual] : [x, factors];
      const run = (...[x, factors, residual]: tf.Tensor[]) =>
        scaleChannels(x!, factors as tf.Tensor1D, residual);
      const untaped = run(...inputs);
      const { value, grads } = tf.valueAndGrads(run)(inputs, upstream);
      const [y, dx, dFactors] = reference(
        [
          await valuesOf(x),
          await valuesOf(factors),
          await valuesOf(upstream),
          isAdded ? await valuesOf(residual) : undefined,
        ],
        shape.at(-1)!,
      ) as [Float64Array, Float64Array, Float64Array];
      assertEquals(value.shape, shape);
      assert(worst(await valuesOf(value), y) < 1e-6, "the value");
      assertEquals(await valuesOf(untaped), await valuesOf(value));
      assert(worst(await valuesOf(grads[0]!), dx) < 1e-6, "x's gradient");
      assert(worst(await valuesOf(grads[1]!), dFactors) < 1e-5, "the factors' gradient");
      if (isAdded) assertEquals(await valuesOf(grads[2]!), await valuesOf(upstream));
      tf.dispose([tensors, factors, untaped, value, grads]);
    });
  }
}

forEachBackend("scaleChannels gives equal bytes twice", async () => {
  const [x, factors] = [randomTensor([9, 65, 12]), randomTensor([3], 2) as tf.Tensor1D];
  const gradients = () => tf.grad((f) => scaleChannels(x, f as tf.Tensor1D))(factors);
  const [one, other] = [gradients(), gradients()];
  assertEquals(await valuesOf(one), await valuesOf(other));
  tf.dispose([x, factors, one, other]);
});

forEachBackend("scaleChannels refuses shapes that do not fit", () => {
  tf.tidy(() => {
    const x = tf.ones([2, 6]);
    assertThrows(() => scaleChannels(x, tf.ones([4])), Error, "[2,6] by factors [4]");
    assertThrows(() => scaleChannels(x, tf.ones([6]), tf.ones([6])), Error, "a residual [6]");
  });
}, { backends: ["cpu"] });
