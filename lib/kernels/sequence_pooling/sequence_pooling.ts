/**
 * Sequence pooling (Hassani et al., 2021): y = the sum of the tokens by weights, the softmax over the
 * tokens of token @ kernel + bias.
 *
 * One workgroup an image, forward and backward; the weights are kept for the backward pass. What an
 * image adds to the gradients of kernel and bias is a row of its own, and the rows are added in their
 * order.
 */
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import {
  dispose,
  registerGradient,
  registerKernels,
  runKernel,
  type Tensors,
} from "../register.ts";
import { sumLeading } from "../sum_leading.ts";
import { simdSequencePooling, simdSequencePoolingGrad } from "./simd.ts";
import { type PoolingGradInputs, type PoolingInputs, sizesOf } from "./sizes.ts";

/**
 * Pools tokens by weights that they give themselves.
 *
 * @param x float32 `[batch, tokens, dim]`.
 * @param kernel float32 `[dim, 1]`.
 * @param bias float32 `[1]`; softmax does not see it, so its gradient is 0 but for rounding.
 * @returns float32 `[batch, dim]`, differentiable with respect to everything.
 * @throws {Error} when the shapes do not fit.
 */
export function sequencePooling(
  x: tf.Tensor3D,
  kernel: tf.Tensor2D,
  bias: tf.Tensor1D,
): tf.Tensor2D {
  const dim = x.shape.at(-1);
  if (x.rank !== 3 || x.size === 0 || `${kernel.shape}` !== `${dim},1` || bias.size !== 1) {
    throw new Error(
      `sequencePooling of x [${x.shape}] needs a kernel [${dim},1] and a bias [1], ` +
        `not [${kernel.shape}] and [${bias.shape}].`,
    );
  }
  return tf.tidy(() => runKernel<tf.Tensor2D[]>("VitSequencePooling", { x, kernel, bias })[0]!);
}

const LANES = 64;

const reduceWgsl = (name: string, joined: string) => /* wgsl */ `
fn ${name}(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  shared_values[lane] = value;
  workgroupBarrier();
  var result = shared_values[0];
  for (var other = 1u; other < ${LANES}u; other++) {
    let next = shared_values[other];
    result = ${joined};
  }
  return result;
}
`;

const forwardWgsl = /* wgsl */ `
struct Uniforms { batch: u32, tokens: u32, dim: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> kernel: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;
@group(0) @binding(5) var<uniform> u: Uniforms;
var<workgroup> shared_values: array<f32, ${LANES}>;
${reduceWgsl("largest", "max(result, next)")}${reduceWgsl("total", "result + next")}
${gridWgsl}${gridMainWgsl(LANES)} {
  let image = block_of(workgroup, workgroups);
  if (image >= u.batch) { return; }
  let row = image * u.tokens;
  var most = -3.0e38;
  for (var t = lane; t < u.tokens; t += ${LANES}u) {
    var score = bias[0];
    for (var d = 0u; d < u.dim; d++) { score = fma(x[(row + t) * u.dim + d], kernel[d], score); }
    weights[row + t] = score;
    most = max(most, score);
  }
  most = largest(most, lane);
  var sum = 0.0;
  for (var t = lane; t < u.tokens; t += ${LANES}u) {
    let weight = exp(weights[row + t] - most);
    weights[row + t] = weight;
    sum += weight;
  }
  sum = total(sum, lane);
  for (var t = lane; t < u.tokens; t += ${LANES}u) { weights[row + t] /= sum; }
  storageBarrier();
  for (var d = lane; d < u.dim; d += ${LANES}u) {
    var value = 0.0;
    for (var t = 0u; t < u.tokens; t++) {
      value = fma(weights[row + t], x[(row + t) * u.dim + d], value);
    }
    y[image * u.dim + d] = value;
  }
}
`;

const backwardWgsl = /* wgsl */ `
struct Uniforms { batch: u32, tokens: u32, dim: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> kernel: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<storage, read_write> scores: array<f32>;
@group(0) @binding(6) var<storage, read_write> d_kernel: array<f32>;
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;
@group(0) @binding(8) var<uniform> u: Uniforms;
var<workgroup> shared_values: array<f32, ${LANES}>;
${reduceWgsl("total", "result + next")}
${gridWgsl}${gridMainWgsl(LANES)} {
  let image = block_of(workgroup, workgroups);
  if (image >= u.batch) { return; }
  let row = image * u.tokens;
  // The gradient to each weight, then to each score.
  var mean = 0.0;
  for (var t = lane; t < u.tokens; t += ${LANES}u) {
    var gradient = 0.0;
    for (var d = 0u; d < u.dim; d++) {
      gradient = fma(dy[image * u.dim + d], x[(row + t) * u.dim + d], gradient);
    }
    scores[row + t] = gradient;
    mean = fma(weights[row + t], gradient, mean);
  }
  mean = total(mean, lane);
  var sum = 0.0;
  for (var t = lane; t < u.tokens; t += ${LANES}u) {
    let score = weights[row + t] * (scores[row + t] - mean);
    scores[row + t] = score;
    sum += score;
  }
  sum = total(sum, lane);
  if (lane == 0u) { d_bias[image] = sum; }
  storageBarrier();
  for (var d = lane; d < u.dim; d += ${LANES}u) {
    let upstream = dy[image * u.dim + d];
    let factor = kernel[d];
    var of_kernel = 0.0;
    for (var t = 0u; t < u.tokens; t++) {
      let score = scores[row + t];
      let e = (row + t) * u.dim + d;
      of_kernel = fma(score, x[e], of_kernel);
      dx[e] = fma(score, factor, weights[row + t] * upstream);
    }
    d_kernel[image * u.dim + d] = of_kernel;
  }
}
`;

const float32 = "float32" as const;

const webgpu = {
  VitSequencePooling({ x, kernel, bias }: PoolingInputs): TensorInfo[] {
    const [batch, tokens, dim] = sizesOf(x);
    return dispatch({
      key: "sequence_pooling",
      wgsl: () => forwardWgsl,
      inputs: [x, kernel, bias],
      outputs: [{ shape: [batch, dim], dtype: float32 }, {
        shape: [batch, tokens],
        dtype: float32,
      }],
      uniforms: uniformWords([["u", batch], ["u", tokens], ["u", dim]]),
      workgroups: gridOf(batch),
    });
  },
  VitSequencePoolingGrad({ dy, x, kernel, weights }: PoolingGradInputs): TensorInfo[] {
    const [batch, tokens, dim] = sizesOf(x);
    const [dx, scores, ...parts] = dispatch({
      key: "sequence_pooling_grad",
      wgsl: () => backwardWgsl,
      inputs: [dy, x, kernel, weights],
      outputs: [x.shape, [batch, tokens], [batch, dim, 1], [batch, 1]].map((shape) => {
        return { shape, dtype: float32 };
      }),
      uniforms: uniformWords([["u", batch], ["u", tokens], ["u", dim]]),
      workgroups: gridOf(batch),
    });
    const sums = sumLeading(parts, batch);
    dispose(scores!, ...parts);
    return [dx!, ...sums];
  },
};

const host: typeof webgpu = {
  VitSequencePooling({ x, kernel, bias }) {
    const [batch, tokens, dim] = sizesOf(x);
    const y = hostAllocate([batch, dim]);
    const weights = hostAllocate([batch, tokens]);
    const [from, factors, to, kept] = [x, kernel, y, weights].map(hostFloats) as Floats4;
    const offset = hostFloats(bias)[0]!;
    const scores = new Float64Array(tokens);
    const sums = new Float64Array(dim);
    for (let image = 0; image < batch; image++) {
      const base = image * tokens * dim;
      for (let t = 0, i = base; t < tokens; t++) {
        scores[t] = offset;
        for (let d = 0; d < dim; d++) scores[t]! += from[i++]! * factors[d]!;
      }
      const most = scores.reduce((a, b) => Math.max(a, b));
      let total = 0;
      for (let t = 0; t < tokens; t++) total += scores[t] = Math.exp(scores[t]! - most);
      sums.fill(0);
      for (let t = 0, i = base; t < tokens; t++) {
        const weight = kept[image * tokens + t] = scores[t]! / total;
        for (let d = 0; d < dim; d++) sums[d]! += weight * from[i++]!;
      }
      to.set(sums, image * dim);
    }
    return [y, weights];
  },
  VitSequencePoolingGrad({ dy, x, kernel, weights }) {
    const [batch, tokens, dim] = sizesOf(x);
    const outputs = [hostAllocate(x.shape), hostAllocate(kernel.shape), hostAllocate([1])];
    const [upstream, from, factors, kept] = [dy, x, kernel, weights].map(hostFloats) as Floats4;
    const dx = hostFloats(outputs[0]!);
    const dKernel = new Float64Array(dim);
    const scores = new Float64Array(tokens);
    let dBias = 0;
    for (let image = 0; image < batch; image++) {
      const base = image * tokens * dim;
      const given = upstream.subarray(image * dim, (image + 1) * dim);
      const weight = kept.subarray(image * tokens, (image + 1) * tokens);
      let mean = 0;
      for (let t = 0, i = base; t < tokens; t++) {
        let gradient = 0;
        for (let d = 0; d < dim; d++) gradient += given[d]! * from[i++]!;
        scores[t] = gradient;
        mean += weight[t]! * gradient;
      }
      for (let t = 0, i = base; t < tokens; t++) {
        const score = weight[t]! * (scores[t]! - mean);
        dBias += score;
        for (let d = 0; d < dim; d++, i++) {
          dKernel[d]! += score * from[i]!;
          dx[i] = score * factors[d]! + weight[t]! * given[d]!;
        }
      }
    }
    hostFloats(outputs[1]!).set(dKernel);
    hostFloats(outputs[2]!)[0] = dBias;
    return outputs;
  },
};

type Floats4 = [Float32Array, Float32Array, Float32Array, Float32Array];

registerKernels(webgpu, host, {
  VitSequencePooling({ x, kernel, bias }: Tensors<PoolingInputs>) {
    const [batch, tokens, dim] = sizesOf(x);
    const scores = tf.matMul(x.reshape([-1, dim]), kernel as tf.Tensor2D).add(bias);
    const weights = tf.softmax(scores.reshape([batch, tokens]));
    const y = tf.matMul(weights.reshape([batch, 1, tokens]), x as tf.Tensor3D);
    return [y.reshape([batch, dim]), weights];
  },
}, { VitSequencePooling: simdSequencePooling, VitSequencePoolingGrad: simdSequencePoolingGrad });

registerGradient("VitSequencePooling", {
  inputs: ["x", "kernel"],
  outputs: [false, true],
  backward: ([dy], [x, kernel, weights]) => {
    // One kernel makes all three. Not inside the thunks: the tape tidies after each of them.
    const [dx, dKernel, dBias] = runKernel("VitSequencePoolingGrad", { dy, x, kernel, weights });
    return { x: () => dx!, kernel: () => dKernel!, bias: () => dBias! };
  },
});
