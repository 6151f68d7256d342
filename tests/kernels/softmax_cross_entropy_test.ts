import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import { softmaxCrossEntropy } from "../../lib/kernels/softmax_cross_entropy.ts";
import { randomUniform, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

interface Case {
  batch: number;
  classes: number;
  logits: Float32Array;
  labels: Int32Array;
  smoothing?: number;
  /** Second labels and the shares of the first ones. */
  mixed?: { second: Int32Array; share: Float32Array };
}

/** Random logits within `scale`, random labels. */
function randomCase(batch: number, classes: number, scale = 4): Case {
  const key = streamKey(batch, classes, 0);
  return {
    batch,
    classes,
    logits: Float32Array.from(
      { length: batch * classes },
      (_, i) => (2 * randomUniform(key, i) - 1) * scale,
    ),
    labels: Int32Array.from(
      { length: batch },
      (_, i) => Math.floor(randomUniform(key, -1 - i) * classes),
    ),
  };
}

/** The same with second labels, some images not mixed and some all of the other, and smoothing. */
function softened(data: Case, smoothing: number, isMixed: boolean): Case {
  const { batch, classes } = data;
  const key = streamKey(batch, classes, 1);
  const second = Int32Array.from(
    { length: batch },
    (_, i) => Math.floor(randomUniform(key, i) * classes),
  );
  const share = Float32Array.from({ length: batch }, (_, i) => [1, 0.3, 0.9, 0][i % 4]!);
  return { ...data, smoothing, ...(isMixed && { mixed: { second, share } }) };
}

/** The same in float64. */
function reference({ batch, classes, logits, labels, smoothing = 0, mixed }: Case) {
  const stats: number[] = [];
  const gradient: number[] = [];
  for (let i = 0; i < batch; i++) {
    const row = [...logits.subarray(i * classes, (i + 1) * classes)];
    const label = labels[i]!;
    const greatest = Math.max(...row);
    const sum = row.reduce((total, x) => total + Math.exp(x - greatest), 0);
    const rank = row.filter((x, k) => x > row[label]! || (x === row[label] && k < label)).length;
    const share = mixed?.share[i] ?? 1;
    const second = mixed?.second[i] ?? label;
    const targets = row.map((_, k) => {
      const mixed = (k === label ? share : 0) + (k === second ? 1 - share : 0);
      return (1 - smoothing) * mixed + smoothing / classes;
    });
    const loss = row.reduce(
      (total, x, k) =>
        targets[k] === 0 ? total : total + targets[k]! * (Math.log(sum) + greatest - x),
      0,
    );
    stats.push(loss, rank === 0 ? 1 : 0, rank < 5 ? 1 : 0);
    row.forEach((x, k) => gradient.push((Math.exp(x - greatest) / sum - targets[k]!) / batch));
  }
  const losses = stats.filter((_, i) => i % 3 === 0);
  return { stats, gradient, loss: losses.reduce((a, b) => a + b, 0) / batch };
}

async function run({ batch, classes, logits, labels, smoothing, mixed }: Case, factor = 1) {
  const [loss, stats, gradient] = tf.tidy(() => {
    const y = tf.tensor1d(labels, "int32");
    const x = tf.tensor2d(logits, [batch, classes]);
    const soft = {
      smoothing,
      second: mixed && tf.tensor1d(mixed.second, "int32"),
      share: mixed && tf.tensor1d(mixed.share),
    };
    const forward = softmaxCrossEntropy(x, y, soft);
    const backward = tf.grad((z) =>
      softmaxCrossEntropy(z as tf.Tensor2D, y, soft).loss.mul(factor) as tf.Scalar
    );
    return [forward.loss, forward.stats, backward(x)];
  });
  const result = {
    loss: (await loss!.data())[0]!,
    stats: [...await stats!.data()],
    gradient: [...await gradient!.data()],
  };
  tf.dispose([loss!, stats!, gradient!]);
  return result;
}

function assertClose(actual: number[], expected: number[], tolerance: number): void {
  assertEquals(actual.length, expected.length);
  actual.forEach((value, i) =>
    assertAlmostEquals(
      value,
      expected[i]!,
      tolerance * Math.max(1, Math.abs(expected[i]!)),
      `at ${i}`,
    )
  );
}

for (const [batch, classes] of [[1, 1], [3, 7], [5, 100], [2, 1000], [130, 3]] as const) {
  forEachBackend(`softmaxCrossEntropy of [${batch}, ${classes}] matches float64`, async () => {
    const data = randomCase(batch, classes);
    const expected = reference(data);
    const actual = await run(data);
    assertClose(actual.stats, expected.stats, 2e-6);
    assertAlmostEquals(actual.loss, expected.loss, 2e-6 * Math.max(1, expected.loss));
    assertClose(
      actual.gradient.map((g) => g * batch),
      expected.gradient.map((g) => g * batch),
      2e-6,
    );
  });
}

for (const [batch, classes] of [[1, 1], [6, 7], [9, 100], [130, 3]] as const) {
  for (const [smoothing, isMixed] of [[0.1, false], [0, true], [0.2, true]] as const) {
    const what = `smoothing ${smoothing}${isMixed ? " and mixed labels" : ""}`;
    forEachBackend(`softmaxCrossEntropy of [${batch}, ${classes}], ${what}`, async () => {
      const data = softened(randomCase(batch, classes), smoothing, isMixed);
      const expected = reference(data);
      const actual = await run(data);
      assertClose(actual.stats, expected.stats, 2e-6);
      assertAlmostEquals(actual.loss, expected.loss, 2e-6 * Math.max(1, expected.loss));
      assertClose(
        actual.gradient.map((g) => g * batch),
        expected.gradient.map((g) => g * batch),
        2e-6,
      );
      // Whatever softens the labels, hits are of the first.
      const hits = (stats: number[]) => stats.filter((_, i) => i % 3 !== 0);
      const plain = await run({ ...data, smoothing: 0, mixed: undefined });
      assertEquals(hits(actual.stats), hits(plain.stats));
    });
  }
}

forEachBackend("softmaxCrossEntropy agrees with PyTorch's, softened", async () => {
  const path = new URL("../golden/recipe/recipe.safetensors", import.meta.url).pathname;
  const { tensors } = await readSafetensorsFile(path);
  const floats = (name: string) => tensors.get(name)!.data as Float32Array;
  const labels = tensors.get("loss.labels")!.data as Int32Array;
  const permutation = tensors.get("loss.permutation")!.data as Int32Array;
  const second = Int32Array.from(permutation, (from) => labels[from]!);
  const mixed = { second, share: new Float32Array(5).fill(0.37) };
  const kinds: Record<string, Partial<Case>> = {
    "label_smoothing_0.1": { smoothing: 0.1 },
    "mixed_0.37": { mixed },
    "mixed_0.37_smoothing_0.1": { mixed, smoothing: 0.1 },
  };
  for (const [kind, softening] of Object.entries(kinds)) {
    const logits = floats("loss.logits");
    const { loss, gradient } = await run({ batch: 5, classes: 7, logits, labels, ...softening });
    assertAlmostEquals(loss, floats(`loss.${kind}`)[0]!, 1e-5, kind);
    assertClose(gradient, [...floats(`grad.${kind}`)], 1e-5);
  }
});

forEachBackend(
  "a second label outside the classes spoils its row, one without a share too",
  async () => {
    const data = softened(randomCase(5, 9), 0, true);
    data.mixed!.second[0] = 9;
    data.mixed!.second[1] = -1;
    const { stats, gradient } = await run(data);
    for (const row of [0, 1]) {
      assertEquals(stats.slice(row * 3, row * 3 + 3), [NaN, 0, 0], `row ${row}`);
      assert(gradient.slice(row * 9, row * 9 + 9).every(Number.isNaN), `row ${row}`);
    }
    const clean = reference(data);
    assertClose(stats.slice(6), clean.stats.slice(6), 2e-6);
  },
);

forEachBackend("a label without a share may have the logit -Infinity", async () => {
  const data = softened(randomCase(8, 6), 0, true);
  // Row 0 has all of its share in the first label, row 3 in the second.
  data.mixed!.second[0] = (data.labels[0]! + 1) % 6;
  data.logits[data.mixed!.second[0]!] = -Infinity;
  data.labels[3] = (data.mixed!.second[3]! + 1) % 6;
  data.logits[18 + data.labels[3]!] = -Infinity;
  const { stats, gradient } = await run(data);
  const expected = reference(data);
  assertClose(stats, expected.stats, 2e-6);
  assertClose(gradient, expected.gradient, 2e-6);
});

forEachBackend("softmaxCrossEntropy's gradient is multiplied by that of the loss", async () => {
  const data = randomCase(4, 9);
  const { gradient } = await run(data, -2.5);
  assertClose(gradient, reference(data).gradient.map((g) => g * -2.5), 2e-6);
});

forEachBackend("softmaxCrossEntropy is finite for logits of 1e4 and of 1e-30", async () => {
  for (const scale of [1e4, 1e-30]) {
    const data = randomCase(6, 11, scale);
    const expected = reference(data);
    const actual = await run(data);
    assertClose(actual.stats, expected.stats, 2e-6);
    assertClose(actual.gradient, expected.gradient, 2e-6);
  }
});

forEachBackend("softmaxCrossEntropy ranks equal logits by class", async () => {
  // All equal: class k has rank k, so only class 0 is a top-1 and classes 0 to 4 a top-5 hit.
  const classes = 7;
  const labels = Int32Array.from({ length: classes }, (_, k) => k);
  const logits = new Float32Array(classes * classes).fill(0.25);
  const { stats } = await run({ batch: classes, classes, logits, labels });
  assertEquals(stats.filter((_, i) => i % 3 === 1), [1, 0, 0, 0, 0, 0, 0]);
  assertEquals(stats.filter((_, i) => i % 3 === 2), [1, 1, 1, 1, 1, 0, 0]);
});

forEachBackend(
  "softmaxCrossEntropy gives a spoilt row NaN and no hits, and others theirs",
  async () => {
    const data = randomCase(5, 100);
    const clean = reference(data);
    data.logits[150] = NaN; // row 1
    data.logits[299] = Infinity; // row 2
    data.labels[3] = 100;
    data.labels[4] = -1;
    const { loss, stats, gradient } = await run(data);
    assert(Number.isNaN(loss));
    for (const row of [1, 2, 3, 4]) {
      assertEquals(stats.slice(row * 3, row * 3 + 3), [NaN, 0, 0], `row ${row}`);
      assert(gradient.slice(row * 100, row * 100 + 100).every(Number.isNaN), `row ${row}`);
    }
    assertClose(stats.slice(0, 3), clean.stats.slice(0, 3), 2e-6);
    assertClose(gradient.slice(0, 100), clean.gradient.slice(0, 100), 2e-6);
  },
);

forEachBackend("softmaxCrossEntropy takes a logit of -Infinity as probability 0", async () => {
  const data = randomCase(1, 6);
  data.logits[(data.labels[0]! + 1) % 6] = -Infinity;
  const { stats, gradient } = await run(data);
  const expected = reference(data);
  assertClose(stats, expected.stats, 2e-6);
  assertClose(gradient, expected.gradient, 2e-6);
});

forEachBackend("softmaxCrossEntropy gives the same bits twice", async () => {
  const data = randomCase(200, 37);
  assertEquals(await run(data), await run(data));
});

forEachBackend("softmaxCrossEntropy refuses labels that do not fit", () => {
  tf.tidy(() => {
    const logits = tf.zeros([2, 3]) as tf.Tensor2D;
    assertThrows(() => softmaxCrossEntropy(logits, tf.tensor1d([1], "int32")), Error, "int32 [2]");
    assertThrows(() => softmaxCrossEntropy(logits, tf.tensor1d([1, 2])), Error, "float32 [2]");
    const labels = tf.tensor1d([1, 2], "int32");
    const refuse = (soft: Parameters<typeof softmaxCrossEntropy>[2], message: string) =>
      assertThrows(() => softmaxCrossEntropy(logits, labels, soft), Error, message);
    refuse({ second: labels }, "Shares must be float32 [2], not absent");
    refuse({ share: tf.ones([2]) }, "Second labels must be int32 [2], not absent");
    refuse({ second: labels, share: tf.ones([3]) }, "not float32 [3]");
    for (const smoothing of [-0.1, 1, NaN]) refuse({ smoothing }, `not ${smoothing}`);
  });
}, { backends: ["cpu"] });
