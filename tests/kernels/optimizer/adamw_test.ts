import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { type AdamWGroup, adamwGroups, adamwUpdate } from "../../../lib/kernels/optimizer/adamw.ts";
import { isShared } from "../../../lib/backend/tfjs_internals.ts";
import { randomUniform, streamKey } from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";

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
function scalarsOf(t: number, decay: number): [number, number] {
  const { beta1, beta2 } = options;
  return [1e-3 * Math.sqrt(1 - beta2 ** t) / (1 - beta1 ** t), 1 - decay];
}

/** The group of one variable. */
function groupOf(value: tf.Tensor, grad: tf.Tensor, m: tf.Tensor, v: tf.Tensor): AdamWGroup[] {
  return [{ m, v, members: [{ value, grad, offset: 0, decay: true }] }];
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
  const values = shapes.map((shape, k) => tf.tensor(start[k]!, shape));
  const stores = adamwGroups(sizes).map((indices) => {
    const total = indices.reduce((sum, k) => sum + sizes[k]!, 0);
    return { indices, m: tf.zeros([total]), v: tf.zeros([total]) };
  });
  for (let t = 1; t <= 3; t++) {
    const [stepSize, factor] = scalarsOf(t, 0.01);
    const given = gradients(t);
    tf.tidy(() => {
      const groups = stores.map(({ indices, m, v }) => {
        let end = 0;
        const members = indices.map((k) => {
          end += sizes[k]!;
          const grad = tf.tensor(given[k]!, shapes[k]!);
          return { value: values[k]!, grad, offset: end - sizes[k]!, decay: k % 2 === 0 };
        });
        return { m, v, members };
      });
      adamwUpdate(groups, tf.tensor1d(scalarsOf(t, 0.01)), options);
    });
    expected.forEach(({ x, m, v }, k) => {
      for (let i = 0; i < x.length; i++) {
        const g = given[k]![i]!;
        m[i] = 0.9 * m[i]! + 0.1 * g;
        v[i] = 0.999 * v[i]! + 0.001 * g * g;
        x[i] = x[i]! * (k % 2 === 0 ? factor : 1) - stepSize * m[i]! / (Math.sqrt(v[i]!) + 1e-7);
      }
    });
  }
  const assertNear = (actual: Float32Array, exact: Float64Array, what: string) => {
    const greatest = exact.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    let worst = 0;
    actual.forEach((x, i) => worst = Math.max(worst, Math.abs(x - exact[i]!)));
    // x moves by about 1e-3 a step, so an error of a thousandth of a move would show.
    assertAlmostEquals(worst, 0, 1e-6 * Math.max(greatest, 1e-30), what);
  };
  for (const [k, value] of values.entries()) {
    assertNear(await value.data<"float32">(), expected[k]!.x, `x of [${shapes[k]}]`);
  }
  for (const { indices, m, v } of stores) {
    const [means, squares] = [await m.data<"float32">(), await v.data<"float32">()];
    let offset = 0;
    for (const k of indices) {
      const end = offset + sizes[k]!;
      assertNear(means.subarray(offset, end), expected[k]!.m, `m of [${shapes[k]}]`);
      assertNear(squares.subarray(offset, end), expected[k]!.v, `v of [${shapes[k]}]`);
      offset = end;
    }
    tf.dispose([m, v]);
  }
  tf.dispose(values);
});

forEachBackend("adamwGroups has every variable with elements once", () => {
  const sizes = [...shapes.map((shape) => tf.util.sizeFromShape(shape)), 1 << 20, (1 << 20) + 4];
  const members = adamwGroups(sizes).flat().sort((a, b) => a - b);
  assertEquals(members, sizes.flatMap((size, k) => size > 0 ? [k] : []));
});

forEachBackend("adamwUpdate takes moments at any offset", async () => {
  const [value, m, v] = [tf.zeros([4]), tf.ones([7]), tf.ones([7])];
  tf.tidy(() => {
    const members = [{ value, grad: tf.fill([4], 2), offset: 2, decay: false }];
    adamwUpdate([{ m, v, members }], tf.tensor1d(scalarsOf(1, 0)), options);
  });
  const [means, squares] = [await m.data(), await v.data()];
  [1, 1, 1.1, 1.1, 1.1, 1.1, 1].forEach((x, i) => assertAlmostEquals(means[i]!, x, 1e-6));
  [0, 0, 0.003, 0.003, 0.003, 0.003, 0].forEach((x, i) =>
    assertAlmostEquals(squares[i]! - 1, x, 1e-6)
  );
  tf.dispose([value, m, v]);
});

forEachBackend("adamwUpdate does not hide a norm that is no number", async () => {
  const [value, m, v] = [tf.zeros([4]), tf.zeros([4]), tf.zeros([4])];
  tf.tidy(() => {
    const squaredNorm = tf.scalar(NaN);
    const groups = groupOf(value, tf.tensor1d([NaN, 1, 1, 1]), m, v);
    adamwUpdate(groups, tf.tensor1d(scalarsOf(1, 0)), options, { clipNorm: 1, squaredNorm });
  });
  assertEquals(Array.from(await m.data(), (x) => Number.isNaN(x)), [true, false, false, false]);
  tf.dispose([value, m, v]);
});

forEachBackend("adamwUpdate is seen by a read after an earlier read", async () => {
  const [value, m, v] = [tf.zeros([8]), tf.zeros([8]), tf.zeros([8])];
  const values: number[] = [];
  for (let t = 1; t <= 2; t++) {
    tf.tidy(() => {
      const groups = groupOf(value, tf.ones([8]), m, v);
      adamwUpdate(groups, tf.tensor1d(scalarsOf(t, 0)), options);
    });
    values.push((await value.data())[0]!);
  }
  assertAlmostEquals(values[0]!, -1e-3, 1e-8);
  assertAlmostEquals(values[1]!, -2e-3, 1e-8);
  tf.dispose([value, m, v]);
});

forEachBackend("adamwUpdate refuses a value whose data is shared, and names it", () => {
  const value = tf.tidy(() => tf.variable(tf.ones([4]), true, "kernel_of_test"));
  // A reshape shares the data on every backend; a clone does not on wasm.
  const alias = value.reshape([2, 2]);
  const [m, v] = [tf.zeros([4]), tf.zeros([4])];
  assertEquals([isShared(value), isShared(m)], [true, false]);
  tf.tidy(() => {
    const scalars = tf.tensor1d(scalarsOf(1, 0));
    const update = () => adamwUpdate(groupOf(value, tf.ones([4]), m, v), scalars, options);
    assertThrows(update, Error, "value of variable kernel_of_test shares");
    alias.dispose();
    update();
  });
  assertEquals(isShared(value), false);
  tf.dispose([value, m, v]);
});

forEachBackend("adamwUpdate refuses a gradient and moments of another size", () => {
  tf.tidy(() => {
    const scalars = tf.tensor1d(scalarsOf(1, 0));
    const update = (gradient: number, moments: number) => () => {
      const groups = groupOf(tf.ones([4]), tf.ones([gradient]), tf.ones([4]), tf.ones([moments]));
      adamwUpdate(groups, scalars, options);
    };
    assertThrows(update(5, 4), Error, "gradient of variable number 0 must be float32 [4]");
    assertThrows(update(4, 3), Error, "v of a group must be float32 with 4 elements");
  });
}, { backends: ["cpu"] });
