/**
 * Softmax cross-entropy with integer labels; loss, top-1 and top-5 hits come from one pass over the
 * logits, and the gradient is made from the logits again.
 *
 * A row that has no defined loss (a NaN, an infinite greatest logit, or a label outside the
 * classes) has loss NaN, no hits and a gradient of NaN on every backend, so that a trainer notices.
 */
import { dispatch, uniformWords } from "../backend/compute.ts";
import { hostAllocate, hostFloats, hostInts } from "../backend/host.ts";
import type { TensorInfo, tf } from "../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { registerGradient, registerKernels, runKernel } from "./register.ts";

/** Result of {@linkcode softmaxCrossEntropy}. */
export interface CrossEntropy {
  /** The mean of the losses; differentiable with respect to the logits. */
  loss: tf.Scalar;
  /** float32 [batch, 3]: the loss, 1 for a top-1 hit, 1 for a top-5 hit. Not differentiable. */
  stats: tf.Tensor2D;
}

/**
 * The mean cross-entropy of `softmax(logits)`, and what is counted beside it.
 *
 * The rank of a label is the number of greater logits, and of equal ones at lower classes, so ties
 * have one answer. A top-1 hit has rank 0, a top-5 hit a rank below 5.
 *
 * @param logits float32 [batch, classes].
 * @param labels int32 [batch], each in 0..classes-1.
 * @throws {Error} when the shapes or types do not fit.
 *
 * @example
 * ```ts
 * import { selectBackend, softmaxCrossEntropy, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const { loss, stats } = softmaxCrossEntropy(tf.zeros([1, 4]), tf.tensor1d([0], "int32"));
 * console.log(await loss.data(), await stats.data()); // 1.386 = ln 4, and its hits: 1, 1
 * ```
 */
export function softmaxCrossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D): CrossEntropy {
  const [batch, classes] = logits.shape;
  if (logits.rank !== 2 || batch * classes === 0 || logits.dtype !== "float32") {
    throw new Error(
      `Logits must be float32 [batch, classes], not ${logits.dtype} [${logits.shape}].`,
    );
  }
  if (labels.rank !== 1 || labels.shape[0] !== batch || labels.dtype !== "int32") {
    throw new Error(`Labels must be int32 [${batch}], not ${labels.dtype} [${labels.shape}].`);
  }
  const [loss, stats] = runKernel("VitSoftmaxCrossEntropy", { logits, labels });
  return { loss: loss as tf.Scalar, stats: stats as tf.Tensor2D };
}

interface Inputs {
  logits: TensorInfo;
  labels: TensorInfo;
}
interface GradientInputs extends Inputs {
  /** float32 []: the gradient of the mean loss. */
  dy: TensorInfo;
}

/** Lanes that share a row. */
const LANES = 64;
const QUIET_NAN = 0x7fc00000;

function uniforms(logits: TensorInfo): Uint32Array {
  return uniformWords([["u", logits.shape[0]!], ["u", logits.shape[1]!], ["u", QUIET_NAN]]);
}

function webgpuForward({ logits, labels }: Inputs): TensorInfo[] {
  const batch = logits.shape[0]!;
  const [stats] = dispatch({
    key: "softmax_cross_entropy/stats",
    wgsl: () => statsWgsl,
    inputs: [logits, labels],
    outputs: [{ shape: [batch, 3], dtype: "float32" }],
    uniforms: uniforms(logits),
    workgroups: gridOf(batch),
  });
  const [loss] = dispatch({
    key: "softmax_cross_entropy/mean",
    wgsl: () => meanWgsl,
    inputs: [stats!],
    outputs: [{ shape: [], dtype: "float32" }],
    uniforms: uniformWords([["u", batch]]),
    workgroups: [1, 1, 1],
  });
  return [loss!, stats!];
}

function webgpuBackward({ logits, labels, dy }: GradientInputs): TensorInfo {
  return dispatch({
    key: "softmax_cross_entropy/gradient",
    wgsl: () => gradientWgsl,
    inputs: [logits, labels, dy],
    outputs: [{ shape: logits.shape, dtype: "float32" }],
    uniforms: uniforms(logits),
    workgroups: gridOf(logits.shape[0]!),
  })[0]!;
}

const uniformsWgsl = /* wgsl */ `struct Uniforms { batch: u32, classes: u32, nan_bits: u32 }`;

/** A tree over the workgroup, in a fixed order: the same bits in every run. */
function reduceWgsl(name: string, memory: string, type: string, combine: string): string {
  return /* wgsl */ `
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  ${memory}[lane] = value;
  workgroupBarrier();
  for (var width = ${LANES / 2}u; width > 0u; width >>= 1u) {
    if (lane < width) {
      let a = ${memory}[lane];
      let b = ${memory}[lane + width];
      ${memory}[lane] = ${combine};
    }
    workgroupBarrier();
  }
  let result = ${memory}[0];
  workgroupBarrier();
  return result;
}
`;
}

/** The greatest logit and the sum of exponentials of a row, and whether its loss is defined. */
const rowWgsl = /* wgsl */ `
struct Row { greatest: f32, sum: f32, is_defined: bool }

// NaN or +Infinity, told by the bits, since shaders may assume that floats are finite.
fn spoils_row(value: f32) -> bool {
  let bits = bitcast<u32>(value);
  return (bits & 0x7fffffffu) > 0x7f800000u || bits == 0x7f800000u;
}
fn read_row(base: u32, lane: u32, label: u32) -> Row {
  var row: Row;
  var greatest = -3.4028234e38;
  var spoilt = 0u;
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    let value = logits[base + k];
    spoilt += select(0u, 1u, spoils_row(value));
    greatest = max(greatest, value);
  }
  row.greatest = reduce_max(lane, greatest);
  let is_clean = reduce_count(lane, spoilt) == 0u;
  var sum = 0.0;
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    sum += exp(logits[base + k] - row.greatest);
  }
  row.sum = reduce_sum(lane, sum);
  row.is_defined = is_clean && label < u.classes && row.sum > 0.0;
  return row;
}
`;

const reducersWgsl = /* wgsl */ `
var<workgroup> floats: array<f32, ${LANES}>;
var<workgroup> counts: array<u32, ${LANES}>;
${reduceWgsl("reduce_max", "floats", "f32", "max(a, b)")}
${reduceWgsl("reduce_sum", "floats", "f32", "a + b")}
${reduceWgsl("reduce_count", "counts", "u32", "a + b")}
`;

const statsWgsl = /* wgsl */ `
${uniformsWgsl}
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${gridWgsl}${reducersWgsl}${rowWgsl}
${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups);
  if (i >= u.batch) { return; }
  let base = i * u.classes;
  let label = labels[i];
  let row = read_row(base, lane, label);
  let own = logits[base + min(label, u.classes - 1u)];
  var above = 0u;
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    let value = logits[base + k];
    above += select(0u, 1u, value > own || (value == own && k < label));
  }
  let rank = reduce_count(lane, above);
  if (lane == 0u) {
    let loss = log(row.sum) - (own - row.greatest);
    stats[i * 3u] = select(bitcast<f32>(u.nan_bits), loss, row.is_defined);
    stats[i * 3u + 1u] = select(0.0, 1.0, row.is_defined && rank == 0u);
    stats[i * 3u + 2u] = select(0.0, 1.0, row.is_defined && rank < 5u);
  }
}
`;

const meanWgsl = /* wgsl */ `
struct Uniforms { batch: u32 }
@group(0) @binding(0) var<storage, read> stats: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
var<workgroup> floats: array<f32, ${LANES}>;
${reduceWgsl("reduce_sum", "floats", "f32", "a + b")}
@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < u.batch; i += ${LANES}u) { sum += stats[i * 3u]; }
  let total = reduce_sum(lane, sum);
  if (lane == 0u) { loss[0] = total / f32(u.batch); }
}
`;

const gradientWgsl = /* wgsl */ `
${uniformsWgsl}
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<uniform> u: Uniforms;
${gridWgsl}${reducersWgsl}${rowWgsl}
${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups);
  if (i >= u.batch) { return; }
  let base = i * u.classes;
  let label = labels[i];
  let row = read_row(base, lane, label);
  let factor = dy[0] / f32(u.batch);
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    let share = exp(logits[base + k] - row.greatest) / row.sum;
    let value = factor * (share - select(0.0, 1.0, k == label));
    gradient[base + k] = select(bitcast<f32>(u.nan_bits), value, row.is_defined);
  }
}
`;

function hostForward({ logits, labels }: Inputs): TensorInfo[] {
  const [batch, classes] = logits.shape as [number, number];
  const loss = hostAllocate([]);
  const stats = hostAllocate([batch, 3]);
  const x = hostFloats(logits);
  const wanted = hostInts(labels);
  const columns = hostFloats(stats);
  let total = 0;
  for (let i = 0; i < batch; i++) {
    const base = i * classes;
    const label = wanted[i]!;
    const { greatest, sum } = hostRow(x, base, classes, label);
    const own = x[base + label]!;
    let rank = 0;
    for (let k = 0; k < classes; k++) {
      const value = x[base + k]!;
      if (value > own || (value === own && k < label)) rank++;
    }
    const value = Math.fround(Math.log(sum) - (own - greatest));
    columns[i * 3] = value;
    columns[i * 3 + 1] = sum > 0 && rank === 0 ? 1 : 0;
    columns[i * 3 + 2] = sum > 0 && rank < 5 ? 1 : 0;
    total += value;
  }
  hostFloats(loss)[0] = total / batch;
  return [loss, stats];
}

function hostBackward({ logits, labels, dy }: GradientInputs): TensorInfo {
  const [batch, classes] = logits.shape as [number, number];
  const gradient = hostAllocate(logits.shape);
  const x = hostFloats(logits);
  const wanted = hostInts(labels);
  const to = hostFloats(gradient);
  const factor = hostFloats(dy)[0]! / batch;
  for (let i = 0; i < batch; i++) {
    const base = i * classes;
    const label = wanted[i]!;
    const { greatest, sum } = hostRow(x, base, classes, label);
    for (let k = 0; k < classes; k++) {
      to[base + k] = factor * (Math.exp(x[base + k]! - greatest) / sum - (k === label ? 1 : 0));
    }
  }
  return gradient;
}

/** The sum is NaN when the row's loss is not defined. */
function hostRow(x: Float32Array, base: number, classes: number, label: number) {
  let greatest = -Infinity;
  for (let k = base; k < base + classes; k++) greatest = Math.max(greatest, x[k]!);
  let sum = label >= 0 && label < classes ? 0 : NaN;
  for (let k = base; k < base + classes; k++) sum += Math.exp(x[k]! - greatest);
  return { greatest, sum };
}

registerKernels({
  VitSoftmaxCrossEntropy: webgpuForward,
  VitSoftmaxCrossEntropyGradient: webgpuBackward,
}, {
  VitSoftmaxCrossEntropy: hostForward,
  VitSoftmaxCrossEntropyGradient: hostBackward,
});

registerGradient("VitSoftmaxCrossEntropy", {
  inputs: ["logits", "labels"],
  backward: ([dy], [logits, labels]) => ({
    logits: () => runKernel<tf.Tensor>("VitSoftmaxCrossEntropyGradient", { logits, labels, dy }),
  }),
});
