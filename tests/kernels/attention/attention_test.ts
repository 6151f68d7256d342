import { assert, assertEquals, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { attention } from "../../../lib/kernels/attention/attention.ts";
import { type Dropout, dropoutNumbers } from "../../../lib/kernels/dropout.ts";
import type { Form } from "../../../lib/kernels/forms.ts";
import { runKernel } from "../../../lib/kernels/register.ts";
import {
  dropThreshold,
  keepScale,
  randomBits,
  randomUniform,
  streamKey,
} from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { forEachForm, inForm } from "../forms.ts";

interface Case {
  batch: number;
  tokens: number;
  heads: number;
  keyDim: number;
  /** What inputs in [-1, 1) are multiplied by. */
  scale?: number;
  rate?: number;
  maskDiagonal?: boolean;
  /** The place of the first image in a whole batch. */
  first?: number;
  /** Whether the form by workgroups leaves it out: all that it tells there, others tell too. */
  once?: boolean;
}

const SEED = 7;
const STEP = 11;
const STREAM = 1234;

function numbers(count: number, stream: number, scale: number): Float32Array {
  const key = streamKey(SEED, stream, 0);
  return Float32Array.from({ length: count }, (_, i) => scale * (2 * randomUniform(key, i) - 1));
}

/** query, key, value and the gradient of the result. */
function operands({ batch, tokens, heads, keyDim, scale = 1 }: Case): Float32Array[] {
  const size = batch * tokens * heads * keyDim;
  return [
    numbers(size, 1, scale),
    numbers(size, 2, scale),
    numbers(size, 3, 1),
    numbers(size, 4, 1),
  ];
}

/** The definition in float64: the result and the gradients of query, key and value. */
function reference(c: Case): Float64Array[] {
  const { batch, tokens, heads, keyDim, rate = 0, maskDiagonal } = c;
  const [query, key, value, upstream] = operands(c) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const mask = streamKey(SEED, STREAM, STEP);
  const results = [0, 1, 2, 3].map(() => new Float64Array(query.length));
  const [attended, dQuery, dKey, dValue] = results as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const at = (image: number, token: number, head: number) =>
    ((image * tokens + token) * heads + head) * keyDim;
  const dot = (a: Float32Array, i: number, b: Float32Array, j: number) => {
    let sum = 0;
    for (let d = 0; d < keyDim; d++) sum += a[i + d]! * b[j + d]!;
    return sum;
  };
  for (let image = 0; image < batch; image++) {
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < tokens; i++) {
        const row = at(image, i, head);
        const others = Array.from({ length: tokens }, (_, j) => at(image, j, head));
        const scores = others.map((j, n) =>
          maskDiagonal && n === i ? -Infinity : dot(query, row, key, j) / Math.sqrt(keyDim)
        );
        const largest = Math.max(...scores);
        const powers = scores.map((s) => Math.exp(s - largest));
        const sum = powers.reduce((a, b) => a + b);
        const weights = powers.map((p) => p / sum);
        const kept = weights.map((_, j) => {
          const index = ((image * heads + head) * tokens + i) * tokens + j;
          return randomBits(mask, index) < dropThreshold(rate) ? 0 : keepScale(rate);
        });
        const dWeights = others.map((j, n) => dot(upstream, row, value, j) * kept[n]!);
        const delta = dWeights.reduce((sum, g, n) => sum + g * weights[n]!, 0);
        others.forEach((j, n) => {
          const used = weights[n]! * kept[n]!;
          const dScore = weights[n]! * (dWeights[n]! - delta) / Math.sqrt(keyDim);
          for (let d = 0; d < keyDim; d++) {
            attended[row + d]! += used * value[j + d]!;
            dQuery[row + d]! += dScore * key[j + d]!;
            dKey[j + d]! += dScore * query[row + d]!;
            dValue[j + d]! += used * upstream[row + d]!;
          }
        });
      }
    }
  }
  return results;
}

/** The result without and with a tape, and the gradients of query, key and value. */
async function computed(c: Case): Promise<Float32Array[]> {
  const { batch, tokens, heads, keyDim, rate = 0, maskDiagonal, first } = c;
  const shape: [number, number, number] = [batch, tokens, heads * keyDim];
  const tensors = operands(c).map((values) => tf.tensor3d(values, shape));
  const stepKey = tf.tensor1d([SEED, STEP, ...(first === undefined ? [] : [first])], "int32");
  const dropout: Dropout = { rate, stream: STREAM, stepKey };
  const run = (...args: tf.Tensor[]) => {
    const [query, key, value] = args as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
    return attention(query, key, value, { numHeads: heads, dropout, maskDiagonal });
  };
  const inputs = tensors.slice(0, 3);
  const attended = run(...inputs);
  const { value, grads } = tf.valueAndGrads(run)(inputs, tensors[3]!);
  const results: Float32Array[] = [];
  for (const tensor of [attended, value, ...grads]) {
    results.push(await tensor.data() as Float32Array);
  }
  tf.dispose([tensors, stepKey, attended, value, grads]);
  return results;
}

/** The largest error, in units of the largest entry of the reference. */
function worstError(actual: Float32Array, expected: Float64Array): number {
  assertEquals(actual.length, expected.length);
  const largest = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
  let worst = 0;
  actual.forEach((value, i) => {
    const error = Math.abs(value - expected[i]!) / largest;
    if (!(error <= worst)) worst = error;
  });
  return worst;
}

async function assertAgrees(c: Case, tolerance = { value: 1e-5, gradient: 1e-4 }): Promise<void> {
  const [untaped, value, ...grads] = await computed(c) as [Float32Array, Float32Array];
  const [expected, ...expectedGrads] = reference(c) as [Float64Array];
  const errors = [worstError(untaped, expected), worstError(value, expected)];
  (grads as Float32Array[]).forEach((g, i) => {
    // With one token the weight is 1 whatever the scores: their gradient is rounding alone.
    const isZero = c.tokens === 1 && i < 2;
    errors.push(
      isZero ? Math.max(...g.map(Math.abs)) * 1e-2 : worstError(g, expectedGrads[i]!),
    );
  });
  const text = `${JSON.stringify(c)}: value, value, dQuery, dKey, dValue off by ${errors}`;
  assert(errors.slice(0, 2).every((e) => e <= tolerance.value), text);
  assert(errors.slice(2).every((e) => e <= tolerance.gradient), text);
}

// Few of them with wide heads, and fewer by workgroups: a software adapter takes seconds to compile
// those kernels.
const plain: Case[] = [
  { batch: 2, tokens: 5, heads: 1, keyDim: 8 },
  { batch: 2, tokens: 65, heads: 3, keyDim: 3, once: true },
  { batch: 1, tokens: 7, heads: 2, keyDim: 128 },
];
const dropped: Case[] = [
  { batch: 3, tokens: 1, heads: 3, keyDim: 3, rate: 0.3 },
  { batch: 2, tokens: 65, heads: 3, keyDim: 3, rate: 0.3, once: true },
  { batch: 2, tokens: 65, heads: 4, keyDim: 16, rate: 0.1 },
  { batch: 1, tokens: 144, heads: 4, keyDim: 64, rate: 0.1 },
];

const casesOf = (form: Form, cases: Case[]) =>
  form === "thread" ? cases : cases.filter(({ once }) => !once);

forEachForm("attention and its gradients agree with the definition in float64", async (form) => {
  for (const shape of casesOf(form, plain)) await assertAgrees(shape);
});

forEachForm(
  "attention drops the weights whose random bits are below the threshold",
  async (form) => {
    for (const shape of casesOf(form, dropped)) await assertAgrees(shape);
  },
);

const masked: Case[] = [
  { batch: 2, tokens: 3, heads: 2, keyDim: 6, once: true },
  { batch: 2, tokens: 65, heads: 3, keyDim: 3, rate: 0.3 },
  { batch: 2, tokens: 65, heads: 2, keyDim: 4, scale: 4, once: true },
];

forEachForm("attention with a masked diagonal agrees, with dropout and without", async (form) => {
  for (const shape of casesOf(form, masked)) await assertAgrees({ ...shape, maskDiagonal: true });
});

forEachForm("of two tokens with a masked diagonal each takes the other's value", async () => {
  const c = { batch: 3, tokens: 2, heads: 2, keyDim: 3, maskDiagonal: true };
  const [attended] = await computed(c);
  const value = operands(c)[2]!;
  const row = c.heads * c.keyDim;
  const swapped = value.map((_, i) => value[Math.floor(i / row) % 2 === 0 ? i + row : i - row]!);
  assert(worstError(attended!, Float64Array.from(swapped)) < 1e-6);
});

forEachForm("attention stays finite and exact when one key takes all the weight", async () => {
  const c = { batch: 1, tokens: 65, heads: 4, keyDim: 16, rate: 0.1, scale: 30 };
  // Scores near 3000 carry rounding errors of 1e-4, which the exponential turns into relative ones.
  await assertAgrees(c, { value: 1e-3, gradient: 1e-3 });
});

forEachForm("attention of tiny queries averages the values", async () => {
  await assertAgrees({ batch: 2, tokens: 65, heads: 4, keyDim: 16, rate: 0.1, scale: 1e-6 });
});

forEachForm("attention gives equal bytes twice", async () => {
  const c = { batch: 2, tokens: 65, heads: 4, keyDim: 16, rate: 0.1 };
  assertEquals(await computed(c), await computed(c));
});

forEachBackend("both forms drop the same weights, of a part of a batch too", async () => {
  const c = { batch: 2, tokens: 37, heads: 3, keyDim: 12, rate: 0.4, first: 5 };
  const [threads, groups] = [
    await inForm("thread", () => computed(c)),
    await inForm("workgroup", () => computed(c)),
  ];
  threads.forEach((values, i) => {
    const error = worstError(groups[i]!, Float64Array.from(values));
    assert(error < 1e-5, `${["value", "value", "dQuery", "dKey", "dValue"][i]} off by ${error}`);
  });
}, { backends: ["webgpu"] });

forEachBackend("the statistics of either form serve the gradients of the other", async () => {
  const c = { batch: 1, tokens: 37, heads: 3, keyDim: 12, rate: 0.4 };
  const expected = reference(c);
  const [query, key, value, upstream] = operands(c).map((values) =>
    tf.tensor3d(values, [c.batch, c.tokens, c.heads * c.keyDim])
  );
  const stepKey = tf.tensor1d([SEED, STEP], "int32");
  const inputs = { query, key, value, stepKey };
  const attributes = {
    ...{ batch: c.batch, tokens: c.tokens, numHeads: c.heads, keyDim: c.keyDim },
    ...{ maskDiagonal: false, keeps: false, stream: STREAM, ...dropoutNumbers(c.rate) },
  };
  for (const [forward, backward] of [["thread", "workgroup"], ["workgroup", "thread"]] as const) {
    const [attended, kept] = await inForm(
      forward,
      () => runKernel("VitAttention", inputs, attributes),
    );
    const grads = await inForm(
      backward,
      () => runKernel("VitAttentionGrad", { ...inputs, attended, kept, upstream }, attributes),
    );
    for (const [i, tensor] of [attended!, ...grads].entries()) {
      const error = worstError(await tensor.data<"float32">(), expected[i]!);
      assert(error < 1e-5, `${["attended", "dQuery", "dKey", "dValue"][i]} off by ${error}`);
    }
    tf.dispose([attended!, kept!, grads]);
  }
  tf.dispose([query!, key!, value!, upstream!, stepKey]);
}, { backends: ["webgpu"] });

forEachBackend("attention computes weights again when there are too many to keep", async () => {
  // The weights of one image are kept, those of 2100 (33 MiB) are not; the first image's numbers,
  // random ones included, do not depend on the batch.
  const c = { batch: 1, tokens: 64, heads: 1, keyDim: 4, rate: 0.2 };
  const alone = await computed(c);
  const among = await computed({ ...c, batch: 2100 });
  assertEquals(among.map((values, i) => values.slice(0, alone[i]!.length)), alone);
}, { backends: ["wasm"] });

Deno.test("attention refuses what its kernels cannot do", async () => {
  await tf.setBackend("cpu");
  tf.tidy(() => {
    const call = (shape: [number, number, number], numHeads: number) => {
      // Only the shape is looked at before the error, so nothing of that size is made.
      const x = tf.zeros([1, 1, 1]) as tf.Tensor3D;
      Object.assign(x, { shape, size: 1 });
      return attention(x, x, x, { numHeads });
    };
    assertThrows(() => call([1, 2, 130], 1), UserError, "keyDim 130");
    assertThrows(() => call([1 << 14, 256, 4], 4), UserError, "4294967296");
    assertThrows(() => call([1, 2, 10], 4), RangeError, "10 into 4 heads");
    const alone = tf.zeros([2, 1, 4]) as tf.Tensor3D;
    assertThrows(
      () => attention(alone, alone, alone, { numHeads: 1, maskDiagonal: true }),
      RangeError,
      "at least two tokens",
    );
    const [x, y] = [tf.zeros([1, 2, 4]), tf.zeros([1, 3, 4])] as [tf.Tensor3D, tf.Tensor3D];
    assertThrows(() => attention(x, y, x, { numHeads: 1 }), RangeError, "one shape");
  });
});
