import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { adamwUpdate, isShared } from "../../lib/kernels/adamw.ts";
import { randomUniform, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const options = { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };

/** A model's worth of shapes: odd, scalar, empty, vec4 and more than one dispatch can bind. */
const shapes: number[][] = [
  [3, 5],
  [],
  [64],
  [0, 4],
  [129],
  [600, 1000],
  [1023, 1],
  [64, 96],
  ...Array.from({ length: 24 }, (_, i) => [4 * i + 4]),
  ...Array.from({ length: 12 }, (_, i) => [2 * i + 1]),
];

function uniform(size: number, stream: number, scale: number): Float32Array {
  const key = streamKey(1, stream, 0);
  return Float32Array.from({ length: size }, (_, i) => (2 * randomUniform(key, i) - 1) * scale);
}

/** The scalars of step `t` at learning rate 1e-3 and a decay of `decay` a step. */
function scalarsOf(t: number, decay: number): [number, number, number, number] {
  const { beta1, beta2 } = options;
  return [1e-3 * Math.sqrt(1 - beta2 ** t) / (1 - beta1 ** t), 1 - decay, 0, 0];
}

forEachBackend("adamwUpdate takes three steps as float64 does, in place", async () => {
  const sizes = shapes.map((shape) => tf.util.sizeFromShape(shape));
  // Every second variable is decayed; gradients span magnitudes from 1e-6 to 10.
  const start = sizes.map((size, k) => uniform(size, 10 + k, 1));
  const gradients = (t: number) =>
    sizes.map((size, k) => uniform(size, 1000 * t + k, 10 ** (k % 8 - 6)));
  const expected = start.map((values) => ({
    x: Float64Array.from(values),
    m: new Float64Array(values.length),
    v: new Float64Array(values.length),
  }));
  const variables = shapes.map((shape, k) => ({
    value: tf.tensor(start[k]!, shape),
    m: tf.zeros(shape),
    v: tf.zeros(shape),
    decay: k % 2 === 0,
  }));
  for (let t = 1; t <= 3; t++) {
    const [stepSize, factor] = scalarsOf(t, 0.01);
    const given = gradients(t);
    tf.tidy(() =>
      adamwUpdate(
        variables,
        given.map((values, k) => tf.tensor(values, shapes[k]!)),
        tf.tensor1d(scalarsOf(t, 0.01)),
        options,
      )
    );
    expected.forEach(({ x, m, v }, k) => {
      for (let i = 0; i < x.length; i++) {
        const g = given[k]![i]!;
        m[i] = 0.9 * m[i]! + 0.1 * g;
        v[i] = 0.999 * v[i]! + 0.001 * g * g;
        x[i] = x[i]! * (k % 2 === 0 ? factor : 1) - stepSize * m[i]! / (Math.sqrt(v[i]!) + 1e-7);
      }
    });
  }
  for (const [k, { value, m, v }] of variables.entries()) {
    const wanted = expected[k]!;
    for (
      const [role, tensor, exact] of [["x", value, wanted.x], ["m", m, wanted.m], [
        "v",
        v,
        wanted.v,
      ]] as const
    ) {
      const actual = await tensor.data();
      const greatest = exact.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      let worst = 0;
      actual.forEach((x, i) => worst = Math.max(worst, Math.abs(x - exact[i]!)));
      // x moves by about 1e-3 a step, so an error of a thousandth of a move would show.
      assertAlmostEquals(worst, 0, 1e-6 * Math.max(greatest, 1e-30), `${role} of [${shapes[k]}]`);
    }
    tf.dispose([value, m, v]);
  }
});

forEachBackend("adamwUpdate is seen by a read after an earlier read", async () => {
  const a = { value: tf.zeros([8]), m: tf.zeros([8]), v: tf.zeros([8]), decay: false };
  const values: number[] = [];
  for (let t = 1; t <= 2; t++) {
    tf.tidy(() => adamwUpdate([a], [tf.ones([8])], tf.tensor1d(scalarsOf(t, 0)), options));
    values.push((await a.value.data())[0]!);
  }
  assertAlmostEquals(values[0]!, -1e-3, 1e-8);
  assertAlmostEquals(values[1]!, -2e-3, 1e-8);
  tf.dispose([a.value, a.m, a.v]);
});

forEachBackend("adamwUpdate refuses a value whose data is shared, and names it", () => {
  const value = tf.tidy(() => tf.variable(tf.ones([4]), true, "kernel_of_test"));
  // A reshape shares the data on every backend; a clone does not on wasm.
  const alias = value.reshape([2, 2]);
  const [m, v] = [tf.zeros([4]), tf.zeros([4])];
  assertEquals([isShared(value), isShared(m)], [true, false]);
  tf.tidy(() => {
    const scalars = tf.tensor1d(scalarsOf(1, 0));
    const gradient = tf.ones([4]);
    const update = () => adamwUpdate([{ value, m, v, decay: true }], [gradient], scalars, options);
    assertThrows(update, Error, "value of variable kernel_of_test shares");
    alias.dispose();
    update();
  });
  assertEquals(isShared(value), false);
  tf.dispose([value, m, v]);
});

forEachBackend("adamwUpdate refuses a gradient of another size", () => {
  tf.tidy(() => {
    const variable = { value: tf.ones([4]), m: tf.zeros([4]), v: tf.zeros([4]), decay: true };
    const scalars = tf.tensor1d(scalarsOf(1, 0));
    assertThrows(
      () => adamwUpdate([variable], [tf.ones([5])], scalars, options),
      Error,
      "gradient of variable number 0 must be float32 [4]",
    );
  });
}, { backends: ["cpu"] });
