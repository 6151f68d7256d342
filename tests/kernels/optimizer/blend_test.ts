import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { blend, exchange } from "../../../lib/kernels/optimizer/blend.ts";
import { randomUniform, streamKey } from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";

/** A model's worth of shapes: odd, scalar, empty, vec4, large and more than one dispatch can bind. */
const shapes: number[][] = [
  [3, 5],
  [],
  [64],
  [0, 4],
  [600, 1000],
  ...Array.from({ length: 40 }, (_, i) => [i + 1]),
];

function uniform(shape: number[], stream: number): Float32Array {
  const key = streamKey(1, stream, 0);
  const size = tf.util.sizeFromShape(shape);
  return Float32Array.from({ length: size }, (_, i) => 2 * randomUniform(key, i) - 1);
}

const values = (tensors: tf.Tensor[]) =>
  Promise.all(tensors.map(async (tensor) => (await tensor.data<"float32">()).slice()));

/** Two tensors of each shape; -0 and numbers near the greatest are among their values. */
function pairs() {
  const numbers = (stream: number) =>
    shapes.map((shape, k) => {
      const made = uniform(shape, stream + k);
      if (made.length > 2) made.set([-0, 3.4e38]);
      return made;
    });
  const [y, x] = [numbers(100), numbers(200)];
  const tensorsOf = (all: Float32Array[]) =>
    all.map((numbers, k) => tf.tensor(numbers.slice(), shapes[k]!));
  return { y, x, into: tensorsOf(y), from: tensorsOf(x) };
}

const asPairs = (into: tf.Tensor[], from: tf.Tensor[]) =>
  into.map((tensor, k) => ({ into: tensor, from: from[k]! }));

forEachBackend(
  "blend adds what float64 adds, in place, and leaves the other as it is",
  async () => {
    for (const isTensor of [false, true]) {
      const { y, x, into, from } = pairs();
      const ids = into.map(({ dataId }) => dataId);
      tf.tidy(() => blend(asPairs(into, from), isTensor ? tf.tensor1d([0.75, 0.2]) : [0.75, 0.2]));
      for (const [k, found] of (await values(into)).entries()) {
        found.forEach((value, i) => {
          const exact = Math.fround(0.75) * y[k]![i]! + Math.fround(0.2) * x[k]![i]!;
          assertAlmostEquals(
            value,
            exact,
            2e-7 * Math.max(1, Math.abs(exact)),
            `[${shapes[k]}] ${i}`,
          );
        });
      }
      assertEquals(await values(from), x);
      assertEquals(into.map(({ dataId }) => dataId), ids);
      tf.dispose([into, from]);
    }
  },
);

forEachBackend("exchange moves every bit, and back", async () => {
  const { y, x, into, from } = pairs();
  const bits = (all: Float32Array[]) => all.map(({ buffer }) => new Uint32Array(buffer));
  exchange(asPairs(into, from));
  assertEquals(bits(await values(into)), bits(x));
  assertEquals(bits(await values(from)), bits(y));
  exchange(asPairs(into, from));
  assertEquals(bits(await values(into)), bits(y));
  tf.dispose([into, from]);
});

forEachBackend("blend and exchange refuse what does not fit or is not theirs alone", () => {
  tf.tidy(() => {
    const [a, b] = [tf.ones([4]), tf.ones([4])];
    assertThrows(() => blend([{ into: a, from: tf.ones([5]) }], [1, 1]), Error, "not float32 [5]");
    assertThrows(
      () => blend([{ into: a, from: b }], tf.tensor1d([1])),
      Error,
      "Weights must be float32 [2]",
    );
    const alias = b.reshape([2, 2]);
    // A tensor that is only read may be shared.
    blend([{ into: a, from: b }], [1, 1]);
    assertThrows(() => blend([{ into: b, from: a }], [1, 1]), Error, "shares its data");
    assertThrows(() => exchange([{ into: a, from: b }]), Error, "shares its data");
    alias.dispose();
  });
});
