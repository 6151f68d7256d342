/**
 * Layer normalization over the last axis: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta.
 *
 * The forward pass keeps each row's mean and reciprocal deviation, `[rows, 2]`, for the backward
 * pass. There, on webgpu, one dispatch makes dx (a thread a row) and, in the same workgroups (a
 * thread a column), the sums of a chunk of rows for dgamma and dbeta; a second dispatch adds the
 * chunks. Every sum has one order, so equal inputs give equal bytes.
 */
import { hostAllocate, hostBackends, hostFloats } from "../backend/host.ts";
import { dispatch, uniformWords } from "../backend/compute.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridOf, gridWgsl } from "./grid.ts";

const LANES = 64;
/** Chunks of rows beyond which a chunk rather grows: what the second dispatch adds up. */
const MAX_CHUNKS = 512;

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
  const dim = x.shape.at(-1);
  if (gamma.size !== dim || beta.size !== dim) {
    throw new RangeError(
      `layerNorm of x [${x.shape}] needs gamma and beta [${dim}], ` +
        `not [${gamma.shape}] and [${beta.shape}].`,
    );
  }
  if (x.size === 0) return x.clone();
  return tf.tidy(() => {
    const outputs = tf.engine().runKernel("VitLayerNorm", { x, gamma, beta }, { epsilon });
    return (outputs as unknown as tf.Tensor[])[0] as T;
  });
}

interface Inputs {
  x: TensorInfo;
  gamma: TensorInfo;
  beta: TensorInfo;
}
interface GradInputs {
  dy: TensorInfo;
  x: TensorInfo;
  gamma: TensorInfo;
  moments: TensorInfo;
}

function rowsOf(x: TensorInfo): { rows: number; dim: number } {
  const dim = x.shape.at(-1)!;
  return { rows: tf.util.sizeFromShape(x.shape) / dim, dim };
}

function webgpuForward({ x, gamma, beta }: Inputs, { epsilon }: { epsilon: number }) {
  const { rows, dim } = rowsOf(x);
  return dispatch({
    key: `layer_norm/${dim}`,
    wgsl: () => forwardWgsl(dim),
    inputs: [x, gamma, beta],
    outputs: [
      { shape: x.shape, dtype: "float32" },
      { shape: [rows, 2], dtype: "float32" },
    ],
    uniforms: uniformWords([["u", rows], ["f", epsilon]]),
    workgroups: gridOf(Math.ceil(rows / LANES)),
  });
}

const mainWgsl = /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
)`;

/** A row is read in vectors where its length allows it. */
function rowType(dim: number): { width: 1 | 4; type: string; sum: (v: string) => string } {
  return dim % 4 === 0
    ? { width: 4, type: "vec4<f32>", sum: (v) => `dot(${v}, vec4<f32>(1.0))` }
    : { width: 1, type: "f32", sum: (v) => v };
}

function forwardWgsl(dim: number): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  return /* wgsl */ `
struct Uniforms { rows: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read> gamma: array<${type}>;
@group(0) @binding(2) var<storage, read> beta: array<${type}>;
@group(0) @binding(3) var<storage, read_write> y: array<${type}>;
@group(0) @binding(4) var<storage, read_write> moments: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> u: Uniforms;
${gridWgsl}${mainWgsl} {
  let row = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (row >= u.rows) { return; }
  let base = row * ${steps}u;
  var total = ${type}();
  for (var d = 0u; d < ${steps}u; d++) { total += x[base + d]; }
  let mean = ${sum("total")} * ${1 / dim};
  // The second pass over the row keeps precision when the mean is far larger than the deviation.
  var squares = ${type}();
  for (var d = 0u; d < ${steps}u; d++) {
    let centered = x[base + d] - mean;
    squares += centered * centered;
  }
  let scale = inverseSqrt(${sum("squares")} * ${1 / dim} + u.epsilon);
  for (var d = 0u; d < ${steps}u; d++) {
    y[base + d] = (x[base + d] - mean) * scale * gamma[d] + beta[d];
  }
  moments[row] = vec2<f32>(mean, scale);
}
`;
}

function webgpuBackward({ dy, x, gamma, moments }: GradInputs): TensorInfo[] {
  const { rows, dim } = rowsOf(x);
  const chunkRows = LANES * Math.ceil(rows / LANES / MAX_CHUNKS);
  const chunks = Math.ceil(rows / chunkRows);
  const [dx, sums] = dispatch({
    key: `layer_norm_grad/${dim}`,
    wgsl: () => backwardWgsl(dim),
    inputs: [dy, x, gamma, moments],
    outputs: [
      { shape: x.shape, dtype: "float32" },
      { shape: [chunks, 2, dim], dtype: "float32" },
    ],
    uniforms: uniformWords([["u", rows], ["u", chunkRows]]),
    workgroups: [chunks, 1, 1],
  });
  const [dGamma, dBeta] = dispatch({
    key: `layer_norm_sums/${dim}`,
    wgsl: () => sumsWgsl(dim),
    inputs: [sums!],
    outputs: [{ shape: [dim], dtype: "float32" }, { shape: [dim], dtype: "float32" }],
    uniforms: uniformWords([["u", chunks]]),
    workgroups: gridOf(dim),
  });
  tf.backend().disposeData(sums!.dataId);
  return [dx!, dGamma!, dBeta!];
}

function backwardWgsl(dim: number): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  return /* wgsl */ `
struct Uniforms { rows: u32, chunk_rows: u32 }
@group(0) @binding(0) var<storage, read> dy: array<${type}>;
@group(0) @binding(1) var<storage, read> x: array<${type}>;
@group(0) @binding(2) var<storage, read> gamma: array<${type}>;
@group(0) @binding(3) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> dx: array<${type}>;
@group(0) @binding(5) var<storage, read_write> sums: array<${type}>;
@group(0) @binding(6) var<uniform> u: Uniforms;
${gridWgsl}${mainWgsl} {
  let chunk = block_of(workgroup, workgroups);
  let first = chunk * u.chunk_rows;
  let end = min(first + u.chunk_rows, u.rows);
  for (var row = first + lane; row < end; row += ${LANES}u) {
    let base = row * ${steps}u;
    let moment = moments[row];
    var plain = ${type}();
    var weighted = ${type}();
    for (var d = 0u; d < ${steps}u; d++) {
      let g = dy[base + d] * gamma[d];
      plain += g;
      weighted += g * ((x[base + d] - moment.x) * moment.y);
    }
    let plain_mean = ${sum("plain")} * ${1 / dim};
    let weighted_mean = ${sum("weighted")} * ${1 / dim};
    for (var d = 0u; d < ${steps}u; d++) {
      let normalized = (x[base + d] - moment.x) * moment.y;
      dx[base + d] = moment.y * (dy[base + d] * gamma[d] - plain_mean - normalized * weighted_mean);
    }
  }
  for (var d = lane; d < ${steps}u; d += ${LANES}u) {
    var d_gamma = ${type}();
    var d_beta = ${type}();
    for (var row = first; row < end; row++) {
      let moment = moments[row];
      let g = dy[row * ${steps}u + d];
      d_gamma += g * ((x[row * ${steps}u + d] - moment.x) * moment.y);
      d_beta += g;
    }
    sums[chunk * ${2 * steps}u + d] = d_gamma;
    sums[chunk * ${2 * steps}u + ${steps}u + d] = d_beta;
  }
}
`;
}

/** A workgroup adds the chunks' sums of one column. */
function sumsWgsl(dim: number): string {
  return /* wgsl */ `
struct Uniforms { chunks: u32 }
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> d_gamma: array<f32>;
@group(0) @binding(2) var<storage, read_write> d_beta: array<f32>;
@group(0) @binding(3) var<uniform> u: Uniforms;
var<workgroup> lane_sums: array<vec2<f32>, ${LANES}>;
${gridWgsl}${mainWgsl} {
  let d = min(block_of(workgroup, workgroups), ${dim - 1}u);
  var total = vec2<f32>();
  for (var chunk = lane; chunk < u.chunks; chunk += ${LANES}u) {
    let at = chunk * ${2 * dim}u + d;
    total += vec2<f32>(sums[at], sums[at + ${dim}u]);
  }
  lane_sums[lane] = total;
  workgroupBarrier();
  if (lane == 0u) {
    for (var other = 1u; other < ${LANES}u; other++) { total += lane_sums[other]; }
    d_gamma[d] = total.x;
    d_beta[d] = total.y;
  }
}
`;
}

function hostForward({ x, gamma, beta }: Inputs, { epsilon }: { epsilon: number }) {
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

function hostBackward({ dy, x, gamma, moments }: GradInputs): TensorInfo[] {
  const { rows, dim } = rowsOf(x);
  const outputs = [hostAllocate(x.shape), hostAllocate([dim]), hostAllocate([dim])];
  const from = hostFloats(x);
  const upstream = hostFloats(dy);
  const kept = hostFloats(moments);
  const scales = hostFloats(gamma);
  const dx = hostFloats(outputs[0]!);
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
  }
  hostFloats(outputs[1]!).set(dGamma);
  hostFloats(outputs[2]!).set(dBeta);
  return outputs;
}

for (const backendName of ["webgpu", ...hostBackends]) {
  const onDevice = backendName === "webgpu";
  tf.registerKernel({
    kernelName: "VitLayerNorm",
    backendName,
    kernelFunc: ({ inputs, attrs }) =>
      (onDevice ? webgpuForward : hostForward)(
        inputs as unknown as Inputs,
        attrs as { epsilon: number },
      ),
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
  outputsToSave: [false, true],
  gradFunc: (dys, saved) => {
    const [x, gamma, moments] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    // One kernel makes all three. Not inside the thunks: the tape tidies after each of them.
    const [dx, dGamma, dBeta] = tf.engine().runKernel("VitLayerNormGrad", {
      dy: (dys as tf.Tensor[])[0]!,
      x,
      gamma,
      moments,
    }) as unknown as [tf.Tensor, tf.Tensor, tf.Tensor];
    return { x: () => dx, gamma: () => dGamma, beta: () => dBeta };
  },
});
