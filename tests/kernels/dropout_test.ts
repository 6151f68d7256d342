import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { dropout } from "../../lib/kernels/dropout.ts";
import { dropThreshold, keepScale, randomBits, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const seed = 7;
const step = 12;

/** The mask as lib/random.ts defines it: 0 or the scale of a kept element. */
function maskOf(size: number, rate: number, stream: number, atStep = step): number[] {
  const key = streamKey(seed, stream, atStep);
  return Array.from(
    { length: size },
    (_, i) => randomBits(key, i) < dropThreshold(rate) ? 0 : Math.fround(keepScale(rate)),
  );
}

function stepKeyOf(atStep = step): tf.Tensor1D {
  return tf.tensor1d([seed, atStep], "int32");
}

for (const shape of [[3, 5, 7], [8, 16], [1]]) {
  forEachBackend(`dropout of [${shape}] follows the counter-based mask`, async () => {
    const size = tf.util.sizeFromShape(shape);
    const values = Float32Array.from({ length: size }, (_, i) => i + 1);
    const y = tf.tidy(() =>
      dropout(tf.tensor(values, shape), { rate: 0.3, stream: 99, stepKey: stepKeyOf() })
    );
    const mask = maskOf(size, 0.3, 99);
    assertEquals(y.shape, shape);
    assertEquals([...await y.data()], mask.map((m, i) => Math.fround(m * values[i]!)));
    y.dispose();
  });
}

forEachBackend("dropout's gradient is the same mask", async () => {
  const [dx, dy] = tf.tidy(() => {
    const d = { rate: 0.5, stream: 3, stepKey: stepKeyOf() };
    const weights = tf.range(1, 36).reshape([5, 7]);
    const gradient = tf.grad((x) => dropout(x, d).mul(weights).sum())(tf.ones([5, 7]));
    return [gradient, weights.clone()];
  });
  const mask = maskOf(35, 0.5, 3);
  const expected = [...await dy!.data()].map((value, i) => Math.fround(value * mask[i]!));
  assertEquals([...await dx!.data()], expected);
  tf.dispose([dx!, dy!]);
});

forEachBackend("dropout draws another mask at another step and in another stream", async () => {
  const masks = tf.tidy(() => {
    const x = tf.ones([64]);
    return [
      dropout(x, { rate: 0.5, stream: 1, stepKey: stepKeyOf(1) }),
      dropout(x, { rate: 0.5, stream: 1, stepKey: stepKeyOf(2) }),
      dropout(x, { rate: 0.5, stream: 2, stepKey: stepKeyOf(1) }),
    ];
  });
  const rows = await Promise.all(masks.map(async (mask) => (await mask.data()).join()));
  assertEquals(new Set(rows).size, 3);
  tf.dispose(masks);
});

forEachBackend("dropout keeps the mean of a large tensor", async () => {
  const mean = tf.tidy(() =>
    dropout(tf.ones([300, 1000]), { rate: 0.1, stream: 5, stepKey: stepKeyOf() }).mean()
  );
  // The standard deviation of this mean is sqrt(0.1 / 0.9 / 300000) = 0.0006.
  assertAlmostEquals((await mean.data())[0]!, 1, 0.003);
  mean.dispose();
});

forEachBackend("dropout turns a dropped NaN into 0", async () => {
  const y = tf.tidy(() =>
    dropout(tf.fill([16], NaN), { rate: 0.5, stream: 1, stepKey: stepKeyOf() })
  );
  assertEquals([...await y.data()].map(Number.isNaN), maskOf(16, 0.5, 1).map((m) => m !== 0));
  y.dispose();
});

forEachBackend("dropout of rate 0 returns the values as they are", async () => {
  const y = tf.tidy(() =>
    dropout(tf.tensor1d([1, 2, 3]), { rate: 0, stream: 1, stepKey: stepKeyOf() })
  );
  assertEquals([...await y.data()], [1, 2, 3]);
  y.dispose();
});

for (const rate of [1, -0.1, NaN]) {
  forEachBackend(`dropout refuses the rate ${rate}`, () => {
    tf.tidy(() => {
      const stepKey = stepKeyOf();
      assertThrows(
        () => dropout(tf.ones([4]), { rate, stream: 1, stepKey }),
        RangeError,
        `${rate}`,
      );
    });
  }, { backends: ["cpu"] });
}
