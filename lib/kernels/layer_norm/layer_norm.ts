/**
 * Layer normalization over the last axis: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta.
 *
 * The forward pass keeps each row's mean and reciprocal deviation, `[rows, 2]`, for the backward
 * pass. Every sum has one order, so equal inputs give equal bytes.
 */
import { hostAllocate, hostBackends, hostFloats } from "../../backend/host.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
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
    const attributes = { epsilon, residual };
    const outputs = tf.engine().runKernel("VitLayerNorm", { x, gamma, beta }, attributes);
    const [y, , passed] = outputs as unknown as T[];
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

/** The same data under a new tensor. */
function share({ dataId, shape, dtype }: TensorInfo): TensorInfo {
  // KernelBackend declares incRef, but tfjs exports the class without it in its types.
  (tf.backend() as unknown as { incRef(dataId: object): void }).incRef(dataId);
  return { dataId, shape, dtype };
}

for (const backendName of ["webgpu", ...hostBackends]) {
  const onDevice = backendName === "webgpu";
  tf.registerKernel({
    kernelName: "VitLayerNorm",
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      const { epsilon, residual } = attrs as unknown as { epsilon: number; residual: boolean };
      const given = inputs as unknown as Inputs;
      const outputs = (onDevice ? webgpuForward : hostForward)(given, epsilon);
      return residual ? [...outputs, share(given.x)] : outputs;
    },
  });
  tf.registerKernel({
    kernelName: "VitLayerNormGrad",
    backendName,
    kernelFunc: ({ inputs }) =>
      (onDevice ? webgpuBackward : hostBackward)(inputs as unknown as GradInputs),
  });
}

tf.registerGradient({
  kernelName: "VitLayerNorm",
  inputsToSave: ["x", "gamma"],
  outputsToSave: [false, true, false],
  gradFunc: (dys, saved) => {
    const [x, gamma, moments] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    const [dy, , added] = dys as tf.Tensor[];
    // One kernel makes all three. Not inside the thunks: the tape tidies after each of them.
    const [dx, dGamma, dBeta] = tf.engine().runKernel(
      "VitLayerNormGrad",
      added ? { dy: dy!, x, gamma, moments, added } : { dy: dy!, x, gamma, moments },
    ) as unknown as [tf.Tensor, tf.Tensor, tf.Tensor];
    return { x: () => dx, gamma: () => dGamma, beta: () => dBeta };
  },
});
