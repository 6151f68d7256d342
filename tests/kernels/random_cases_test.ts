/**
 * Every differentiable operation on random shapes, on every backend: its values against float64
 * loops, its gradients against central differences of those loops, at small and large magnitudes,
 * and once more in memory full of NaN. Nothing here is derived by hand but the forward passes.
 */
import { assert, assertEquals } from "@std/assert";
import { flushBackend, webgpuInternals } from "../../lib/backend/tfjs_internals.ts";
import { attention } from "../../lib/kernels/attention/attention.ts";
import { dropout } from "../../lib/kernels/dropout.ts";
import { layerNorm, layerNormResidual } from "../../lib/kernels/layer_norm/layer_norm.ts";
import { linear, linearChain } from "../../lib/kernels/linear/linear.ts";
import { parallelLinear } from "../../lib/kernels/linear/parallel_linear.ts";
import { sequencePooling } from "../../lib/kernels/sequence_pooling/sequence_pooling.ts";
import { softmaxCrossEntropy } from "../../lib/kernels/softmax_cross_entropy.ts";
import { dropThreshold, keepScale, randomBits, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { forEachForm } from "./forms.ts";
import { erf, normals } from "./linear/reference.ts";

/** Draws a whole number, both ends included. */
type Draw = (from: number, to: number) => number;

/** An operation on inputs of some shapes. */
interface Case {
  /** What a failure names. */
  text: string;
  /** Of each differentiable input: its shape, and what normal values are multiplied by. */
  inputs: { shape: number[]; scale: number }[];
  /** The operation; its results are summed, each with a gradient of its own. */
  run: (inputs: tf.Tensor[], stepKey: tf.Tensor1D) => tf.Tensor[];
  /** The same in float64. */
  forward: (inputs: Float64Array[]) => Float64Array[];
}

const [SEED, STEP, STREAM] = [3, 8, 21];
/** Of each operation; fewer on WebGPU, where a software adapter compiles anew for most of them. */
const TRIALS = { webgpu: 3, wasm: 6, cpu: 6 };

/** 0 where dropped, else the factor of what is kept, float64 by index. */
function mask(rate: number): (index: number) => number {
  const key = streamKey(SEED, STREAM, STEP);
  return (index) => randomBits(key, index) < dropThreshold(rate) ? 0 : keepScale(rate);
}

const gelu = (z: number) => z * (1 + erf(z / Math.SQRT2)) / 2;

/** `x [rows, inner]` times `kernel [inner, columns]` plus `bias`. */
function dense(x: Float64Array, kernel: Float64Array, bias: Float64Array | null, columns: number) {
  const inner = kernel.length / columns;
  return Float64Array.from({ length: x.length / inner * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    let sum = bias?.[column] ?? 0;
    for (let k = 0; k < inner; k++) sum += x[row * inner + k]! * kernel[k * columns + column]!;
    return sum;
  });
}

function normalized(x: Float64Array, gamma: Float64Array, beta: Float64Array): Float64Array {
  const dim = gamma.length;
  const y = new Float64Array(x.length);
  for (let base = 0; base < x.length; base += dim) {
    const row = x.subarray(base, base + dim);
    const mean = row.reduce((a, b) => a + b) / dim;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / dim;
    row.forEach((value, d) => {
      y[base + d] = (value - mean) / Math.sqrt(variance + 1e-6) * gamma[d]! + beta[d]!;
    });
  }
  return y;
}

const magnitudes = [1e-3, 1, 1e3];
const rates = [0, 0.1, 0.5];
const pick = <T>(draw: Draw, values: readonly T[]): T => values[draw(0, values.length - 1)]!;

/** Cases of each operation, by its name. */
const operations: Record<string, (draw: Draw) => Case> = {
  linear(draw) {
    const shape = [draw(1, 3), draw(1, 40), draw(1, 70)];
    const columns = draw(1, 70);
    const [withBias, withGelu, withResidual] = [draw(0, 1), draw(0, 1), draw(0, 1)];
    const rate = pick(draw, rates);
    const yShape = [shape[0]!, shape[1]!, columns];
    const scale = pick(draw, magnitudes);
    const kept = mask(rate);
    return {
      text: `[${shape}] to ${columns}, scale ${scale}, rate ${rate}, ` +
        `bias ${withBias}, gelu ${withGelu}, residual ${withResidual}`,
      inputs: [
        { shape, scale },
        { shape: [shape[2]!, columns], scale: 1 / Math.sqrt(shape[2]!) },
        ...(withBias ? [{ shape: [columns], scale }] : []),
        ...(withResidual ? [{ shape: yShape, scale }] : []),
      ],
      run: ([x, kernel, ...rest], stepKey) => [
        linear(x!, kernel as tf.Tensor2D, withBias ? rest[0] as tf.Tensor1D : null, {
          activation: withGelu ? "gelu" : undefined,
          dropout: { rate, stream: STREAM, stepKey },
          residual: withResidual ? rest.at(-1) : undefined,
        }),
      ],
      forward: ([x, kernel, ...rest]) => {
        const z = dense(x!, kernel!, withBias ? rest[0]! : null, columns);
        return [z.map((z, i) => {
          const y = (withGelu ? gelu(z) : z) * kept(i);
          return y + (withResidual ? rest.at(-1)![i]! : 0);
        })];
      },
    };
  },
  linearChain(draw) {
    const [rows, inner, hidden, columns] = [draw(1, 40), draw(1, 40), draw(1, 40), draw(1, 40)];
    const scale = pick(draw, magnitudes);
    return {
      text: `${rows}x${inner} to ${hidden} to ${columns}, scale ${scale}`,
      inputs: [
        { shape: [rows, inner], scale },
        { shape: [inner, hidden], scale: 1 / Math.sqrt(inner) },
        { shape: [hidden], scale },
        { shape: [hidden, columns], scale: 1 / Math.sqrt(hidden) },
        { shape: [columns], scale },
      ],
      run: ([x, k0, b0, k1, b1]) => [
        linearChain(x!, [
          { kernel: k0 as tf.Tensor2D, bias: b0 as tf.Tensor1D, activation: "gelu" },
          { kernel: k1 as tf.Tensor2D, bias: b1 as tf.Tensor1D, activation: "gelu" },
        ]),
      ],
      forward: ([x, k0, b0, k1, b1]) => [
        dense(dense(x!, k0!, b0!, hidden).map(gelu), k1!, b1!, columns).map(gelu),
      ],
    };
  },
  parallelLinear(draw) {
    const shape = [draw(1, 3), draw(1, 40), draw(1, 70)];
    const [columns, count, scale] = [draw(1, 70), draw(1, 3), pick(draw, magnitudes)];
    const parts = Array.from({ length: count }, (_, i) => i);
    return {
      text: `[${shape}] to ${count} of ${columns}, scale ${scale}`,
      inputs: [
        { shape, scale },
        ...parts.map(() => ({ shape: [shape[2]!, columns], scale: 1 / Math.sqrt(shape[2]!) })),
        ...parts.map(() => ({ shape: [columns], scale })),
      ],
      run: ([x, ...rest]) =>
        parallelLinear(
          x!,
          rest.slice(0, count) as tf.Tensor2D[],
          rest.slice(count) as tf.Tensor1D[],
        ),
      forward: ([x, ...rest]) => parts.map((i) => dense(x!, rest[i]!, rest[count + i]!, columns)),
    };
  },
  attention(draw) {
    const [batch, tokens, heads, keyDim] = [draw(1, 2), draw(2, 37), draw(1, 3), draw(1, 33)];
    const [rate, scale] = [pick(draw, rates), pick(draw, [1e-3, 1, 5])];
    const valueScale = pick(draw, magnitudes);
    const shape = [batch, tokens, heads * keyDim];
    const kept = mask(rate);
    return {
      text: `[${shape}] with ${heads} heads, scales ${scale} and ${valueScale}, rate ${rate}`,
      inputs: [scale, scale, valueScale].map((scale) => ({ shape, scale })),
      run: ([query, key, value], stepKey) => [
        attention(query as tf.Tensor3D, key as tf.Tensor3D, value as tf.Tensor3D, {
          numHeads: heads,
          dropout: { rate, stream: STREAM, stepKey },
        }),
      ],
      forward: ([query, key, value]) => {
        const y = new Float64Array(query!.length);
        for (let group = 0; group < batch * heads; group++) {
          const [image, head] = [Math.floor(group / heads), group % heads];
          const at = (token: number) => ((image * tokens + token) * heads + head) * keyDim;
          for (let i = 0; i < tokens; i++) {
            const scores = Array.from({ length: tokens }, (_, j) => {
              let sum = 0;
              for (let d = 0; d < keyDim; d++) sum += query![at(i) + d]! * key![at(j) + d]!;
              return sum / Math.sqrt(keyDim);
            });
            const largest = Math.max(...scores);
            const powers = scores.map((s) => Math.exp(s - largest));
            const total = powers.reduce((a, b) => a + b);
            powers.forEach((power, j) => {
              const weight = power / total * kept((group * tokens + i) * tokens + j);
              for (let d = 0; d < keyDim; d++) y[at(i) + d]! += weight * value![at(j) + d]!;
            });
          }
        }
        return [y];
      },
    };
  },
  layerNorm(draw) {
    const shape = [draw(1, 70), draw(2, 140)];
    const [scale, residual] = [pick(draw, [1e-2, 1, 1e4]), draw(0, 1)];
    return {
      text: `[${shape}], scale ${scale}, residual ${residual}`,
      inputs: [{ shape, scale }, { shape: [shape[1]!], scale: 1 }, {
        shape: [shape[1]!],
        scale: 1,
      }],
      run: ([x, gamma, beta]) =>
        residual
          ? layerNormResidual(x!, gamma as tf.Tensor1D, beta as tf.Tensor1D, 1e-6)
          : [layerNorm(x!, gamma as tf.Tensor1D, beta as tf.Tensor1D, 1e-6)],
      forward: ([x, gamma, beta]) => [normalized(x!, gamma!, beta!), ...(residual ? [x!] : [])],
    };
  },
  dropout(draw) {
    const shape = [draw(1, 9), draw(1, 300)];
    const [rate, scale] = [pick(draw, rates), pick(draw, magnitudes)];
    const kept = mask(rate);
    return {
      text: `[${shape}], rate ${rate}, scale ${scale}`,
      inputs: [{ shape, scale }],
      // Of rate 0 it is its input; that it does not compute anything is tested elsewhere.
      run: ([x], stepKey) => [tf.add(dropout(x!, { rate, stream: STREAM, stepKey }), 0)],
      forward: ([x]) => [x!.map((value, i) => value * kept(i))],
    };
  },
  softmaxCrossEntropy(draw) {
    const [batch, classes, scale] = [draw(1, 70), draw(2, 130), pick(draw, [1e-3, 1, 30])];
    const labels = Int32Array.from({ length: batch }, () => draw(0, classes - 1));
    return {
      text: `[${batch}, ${classes}], scale ${scale}`,
      inputs: [{ shape: [batch, classes], scale }],
      run: ([logits]) => {
        const given = tf.tensor1d(labels, "int32");
        return [softmaxCrossEntropy(logits as tf.Tensor2D, given).loss];
      },
      forward: ([logits]) => {
        let sum = 0;
        labels.forEach((label, row) => {
          const values = logits!.subarray(row * classes, (row + 1) * classes);
          const largest = Math.max(...values);
          const total = values.reduce((sum, v) => sum + Math.exp(v - largest), 0);
          sum += Math.log(total) + largest - values[label]!;
        });
        return [Float64Array.of(sum / batch)];
      },
    };
  },
  sequencePooling(draw) {
    const [batch, tokens, dim] = [draw(1, 5), draw(1, 150), draw(1, 90)];
    const scale = pick(draw, magnitudes);
    return {
      text: `[${batch}, ${tokens}, ${dim}], scale ${scale}`,
      inputs: [
        { shape: [batch, tokens, dim], scale },
        { shape: [dim, 1], scale: 1 / (scale * Math.sqrt(dim)) },
      ],
      // The bias's gradient is 0 but for rounding, which no difference measures.
      run: ([x, kernel]) => [
        sequencePooling(x as tf.Tensor3D, kernel as tf.Tensor2D, tf.tensor1d([0.7])),
      ],
      forward: ([x, kernel]) => [
        Float64Array.from({ length: batch * dim }, (_, i) => {
          const rows = Array.from({ length: tokens }, (_, t) => {
            const start = (Math.floor(i / dim) * tokens + t) * dim;
            return x!.subarray(start, start + dim);
          });
          const weights = rows.map((row) =>
            Math.exp(row.reduce((sum, value, d) => sum + value * kernel![d]!, 0))
          );
          const total = weights.reduce((a, b) => a + b);
          return rows.reduce((sum, row, t) => sum + weights[t]! / total * row[i % dim]!, 0);
        }),
      ],
    };
  },
};

/** The results and the gradients of their sums with `upstream`. */
async function computed(
  { inputs, run }: Case,
  values: Float32Array[],
  upstream: Float32Array[],
): Promise<{ results: Float32Array[]; gradients: Float32Array[] }> {
  const stepKey = tf.tensor1d([SEED, STEP], "int32");
  const xs = inputs.map(({ shape }, i) => tf.tensor(values[i]!.slice(), shape));
  const kept: tf.Tensor[] = [];
  const { value, grads } = tf.valueAndGrads((...xs: tf.Tensor[]) => {
    const results = run(xs, stepKey);
    kept.push(...results.map((result) => tf.keep(result.clone())));
    const terms = results.map((result, i) =>
      tf.sum(tf.mul(result, tf.tensor(upstream[i]!.slice(), result.shape)))
    );
    return tf.addN(terms) as tf.Scalar;
  })(xs);
  const read = async (tensors: tf.Tensor[]) => {
    const arrays: Float32Array[] = [];
    for (const tensor of tensors) arrays.push((await tensor.data<"float32">()).slice());
    return arrays;
  };
  const outcome = { results: await read(kept), gradients: await read(grads) };
  tf.dispose([stepKey, xs, kept, value, grads]);
  return outcome;
}

/** Fills the memory that the next tensors of these sizes get with NaN. */
async function poison(sizes: number[]): Promise<void> {
  tf.dispose(sizes.flatMap((size) => [1, 2, 3].map(() => tf.fill([size], NaN))));
  if (tf.getBackend() !== "webgpu") return;
  // The buffers of intermediate results, too.
  const backend = webgpuInternals();
  flushBackend(backend);
  for (const free of backend.bufferManager.freeBuffers.values()) {
    for (const buffer of free) {
      if (!(buffer.usage & GPUBufferUsage.STORAGE)) continue;
      backend.queue.writeBuffer(buffer, 0, new Float32Array(buffer.size / 4).fill(NaN));
    }
  }
  await backend.queue.onSubmittedWorkDone();
}

/** The largest difference, relative to the largest magnitude. */
function assertNear(got: Float32Array, want: Float64Array, tolerance: number, what: string): void {
  assertEquals(got.length, want.length, what);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
  got.forEach((value, i) => {
    const error = Math.abs(value - want[i]!) / largest;
    assert(error <= tolerance, `${what}: element ${i} is ${value}, not ${want[i]}`);
  });
}

/** Gradients against central differences along random directions and along single elements. */
function assertGradients(
  { inputs, forward }: Case,
  values: Float64Array[],
  upstream: Float32Array[],
  gradients: Float32Array[],
  text: string,
): void {
  const total = (at: Float64Array[]) =>
    forward(at).reduce(
      (sum, result, k) => sum + result.reduce((s, value, i) => s + value * upstream[k]![i]!, 0),
      0,
    );
  inputs.forEach(({ scale }, k) => {
    const size = values[k]!.length;
    const h = 1e-5 * scale;
    // A single element is measured against what the largest would give.
    const largest = gradients[k]!.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    const directions = [
      { direction: Float64Array.from(normals([size], 90 + k)), share: 0 },
      ...[0, size >> 1, size - 1].map((element) => {
        return {
          direction: Float64Array.from({ length: size }, (_, i) => Number(i === element)),
          share: largest,
        };
      }),
    ];
    for (const { direction, share } of directions) {
      const moved = (by: number) =>
        values.map((value, i) => i === k ? value.map((x, j) => x + by * direction[j]!) : value);
      const want = (total(moved(h)) - total(moved(-h))) / (2 * h);
      const products = direction.map((d, i) => d * gradients[k]![i]!);
      const got = products.reduce((a, b) => a + b);
      const reach = share || Math.hypot(...products);
      // What float64 leaves of a difference of nearly equal sums.
      const noise = 1e-13 * Math.abs(total(values)) / h;
      assert(
        Math.abs(got - want) <= 1e-4 * reach + noise + 1e-9,
        `${text}: gradient of input ${k} along a direction is ${got}, not ${want}`,
      );
    }
  });
}

/** Operations whose kernels have two forms on webgpu. */
const haveForms = ["attention", "layerNorm"];

Object.entries(operations).forEach(([name, make], operation) => {
  const test = async (trials: number) => {
    for (let trial = 0; trial < trials; trial++) {
      const key = streamKey(5, operation, trial);
      let drawn = 0;
      const draw: Draw = (from, to) => from + randomBits(key, drawn++) % (to - from + 1);
      const c = make(draw);
      const text = `${name} ${c.text}`;
      const values = c.inputs.map(({ shape, scale }, i) =>
        normals(shape, 1000 * trial + 100 * operation + i, scale)
      );
      const exact = values.map((value) => Float64Array.from(value));
      const want = c.forward(exact);
      const upstream = want.map(({ length }, i) => normals([length], 7000 + 10 * trial + i));
      const got = await computed(c, values, upstream);
      want.forEach((result, i) => assertNear(got.results[i]!, result, 2e-5, text));
      assertGradients(c, exact, upstream, got.gradients, text);
      await poison([...values, ...want].map(({ length }) => length));
      assertEquals(
        await computed(c, values, upstream),
        got,
        `${text}: other values in used memory`,
      );
    }
  };
  const title = `${name} on random shapes, magnitudes and poisoned memory`;
  if (!haveForms.includes(name)) forEachBackend(title, (backend) => test(TRIALS[backend]));
  else forEachForm(title, (form, backend) => test(form === "thread" ? TRIALS[backend] : 1));
});
