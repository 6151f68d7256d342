/**
 * Layer normalization over the last axis: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta.
 *
 * The forward pass keeps each row's mean and reciprocal deviation, `[rows, 2]`, for the backward
 * pass. Every sum has one order, so equal inputs give equal bytes.
 */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import { shareData } from "../../backend/tfjs_internals.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { registerGradient, registerKernels, runKernel, type Tensors } from "../register.ts";
import { simdBackward, simdForward } from "./simd.ts";
import { type GradInputs, type Inputs, rowsOf, webgpuBackward, webgpuForward } from "./wgsl.ts";

/**
 * Normalizes the rows of `x`, as `keras.layers.LayerNormalization` does it.
 *
 * @param x float32 `[..., dim]`.
 * @param gamma The scale, `[dim]`.
 * @param beta The offset, `[dim]`.
 * @param epsilon Added to the variance (of the row, dividing by dim).
 * @returns A tensor of x's shape, differentiable to x, gamma and beta.
 * @throws {RangeError} when gamma or beta is not `[dim]`.
 */
export function layerNorm<T extends tf.Tensor>(
  x: T,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  epsilon: number,
): T {
  return normalize(x, gamma, beta, epsilon, false)[0]!;
}

/**
 * {@linkcode layerNorm} for a residual branch: normalizes `x` and passes it on for what adds the
 * residual. Their gradients then meet in the kernel of the backward pass, which adds them; used
 * twice, `x` would cost the tape an addition of its own.
 *
 * @returns `[normed, residual]`; the residual is x, with x's data and not a copy.
 * @throws {RangeError} when gamma or beta is not `[dim]`.
 */
export function layerNormResidual<T extends tf.Tensor>(
  x: T,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  epsilon: number,
): [normed: T, residual: T] {
  return normalize(x, gamma, beta, epsilon, true) as [T, T];
}

function normalize<T extends tf.Tensor>(
  x: T,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  epsilon: number,
  residual: boolean,
): T[] {
  const dim = x.shape.at(-1);
  if (gamma.size !== dim || beta.size !== dim) {
    throw new RangeError(
      `layerNorm of x [${x.shape}] needs gamma and beta [${dim}], ` +
        `not [${gamma.shape}] and [${beta.shape}].`,
    );
  }
  if (x.size === 0) return residual ? [x.clone(), x.clone()] : [x.clone()];
  return tf.tidy(() => {
    const attributes: Attributes = { epsilon, residual };
    const [y, , passed] = runKernel<T[]>("VitLayerNorm", { x, gamma, beta }, attributes);
    return residual ? [y!, passed!] : [y!];
  });
}

function hostForward({ x, gamma, beta }: Inputs, epsilon: number): TensorInfo[] {
  const { rows, dim } = rowsOf(x);
  const y = hostAllocate(x.shape);
  const moments = hostAllocate([rows, 2]);
  const from = hostFloats(x);
  const to = hostFloats(y);
  const kept = hostFloats(moments);
  const scales = hostFloats(gamma);
  const offsets = hostFloats(beta);
  for (let row = 0; row < rows; row++) {
    const base = row * dim;
    let total = 0;
    for (let d = 0; d < dim; d++) total += from[base + d]!;
    const mean = total / dim;
    let squares = 0;
    for (let d = 0; d < dim; d++) {
      const centered = from[base + d]! - mean;
      squares += centered * centered;
    }
    const scale = 1 / Math.sqrt(squares / dim + epsilon);
    for (let d = 0; d < dim; d++) {
      to[base + d] = (from[base + d]! - mean) * scale * scales[d]! + offsets[d]!;
    }
    kept[2 * row] = mean;
    kept[2 * row + 1] = scale;
  }
  return [y, moments];
}

function plainForward(
  { x, gamma, beta }: Tensors<Inputs>,
  { epsilon, residual }: Attributes,
): tf.Tensor[] {
  const { mean, variance } = tf.moments(x, -1, true);
  const scale = tf.rsqrt(variance.add(epsilon));
  const y = x.sub(mean).mul(scale).mul(gamma).add(beta);
  const moments = tf.concat([mean.reshape([-1, 1]), scale.reshape([-1, 1])], 1);
  return [y, moments, ...(residual ? [x.clone()] : [])];
}

function hostBackward({ dy, x, gamma, moments, added }: GradInputs): TensorInfo[] {
  const { rows, dim } = rowsOf(x);
  const outputs = [hostAllocate(x.shape), hostAllocate([dim]), hostAllocate([dim])];
  const from = hostFloats(x);
  const upstream = hostFloats(dy);
  const kept = hostFloats(moments);
  const scales = hostFloats(gamma);
  const dx = hostFloats(outputs[0]!);
  const residual = added && hostFloats(added);
  const dGamma = new Float64Array(dim);
  const dBeta = new Float64Array(dim);
  for (let row = 0; row < rows; row++) {
    const base = row * dim;
    const mean = kept[2 * row]!;
    const scale = kept[2 * row + 1]!;
    let plain = 0;
    let weighted = 0;
    for (let d = 0; d < dim; d++) {
      const normalized = (from[base + d]! - mean) * scale;
      const given = upstream[base + d]!;
      const product = given * normalized;
      dGamma[d]! += product;
      dBeta[d]! += given;
      plain += given * scales[d]!;
      weighted += product * scales[d]!;
    }
    const plainMean = plain / dim;
    const weightedMean = weighted / dim;
    for (let d = 0; d < dim; d++) {
      const normalized = (from[base + d]! - mean) * scale;
      dx[base + d] = scale *
        (upstream[base + d]! * scales[d]! - plainMean - normalized * weightedMean);
    }
    if (residual) { for (let i = base; i < base + dim; i++) dx[i]! += residual[i]!; }
  }
  hostFloats(outputs[1]!).set(dGamma);
  hostFloats(outputs[2]!).set(dBeta);
  return outputs;
}

interface Attributes {
  epsilon: number;
  /** Whether x is passed on as a third output. */
  residual: boolean;
}

/** A forward pass that passes x on where that is asked for. */
function passingOn(forward: (inputs: Inputs, epsilon: number) => TensorInfo[]) {
  return (inputs: Inputs, { epsilon, residual }: Attributes): TensorInfo[] => {
    const outputs = forward(inputs, epsilon);
    return residual ? [...outputs, shareData(inputs.x)] : outputs;
  };
}

registerKernels(
  { VitLayerNorm: passingOn(webgpuForward), VitLayerNormGrad: webgpuBackward },
  { VitLayerNorm: passingOn(hostForward), VitLayerNormGrad: hostBackward },
  { VitLayerNorm: plainForward },
  {
    VitLayerNorm: (pool, inputs: Inputs, attributes: Attributes) =>
      passingOn((inputs, epsilon) => simdForward(pool, inputs, epsilon))(inputs, attributes),
    VitLayerNormGrad: simdBackward,
  },
);

registerGradient<Attributes>("VitLayerNorm", {
  inputs: ["x", "gamma"],
  outputs: [false, true, false],
  backward: ([dy, , added], [x, gamma, moments]) => {
    // One kernel makes all three. Not inside the thunks: the tape tidies after each of them.
    const [dx, dGamma, dBeta] = runKernel("VitLayerNormGrad", { dy, x, gamma, moments, added });
    return { x: () => dx!, gamma: () => dGamma!, beta: () => dBeta! };
  },
});
