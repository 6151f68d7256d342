/**
 * The WGSL form of layer_norm.ts.
 *
 * The backward pass is one dispatch of two kinds of workgroups. Those before `row_blocks` make dx,
 * a lane a row. Each of the others owns one column (four, as a vector) of a chunk of rows and sums
 * its dgamma and dbeta; rows beyond one chunk take a second dispatch, which adds the chunks.
 */
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { halfOf } from "../../backend/half.ts";
import { webgpuInternals } from "../../backend/tfjs_internals.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { sumLeading } from "../sum_leading.ts";

/** The inputs of the forward kernel. */
export interface Inputs {
  x: TensorInfo;
  gamma: TensorInfo;
  beta: TensorInfo;
}

/** The inputs of the backward kernel. */
export interface GradInputs {
  dy: TensorInfo;
  x: TensorInfo;
  gamma: TensorInfo;
  /** Mean and reciprocal deviation of each row, `[rows, 2]`. */
  moments: TensorInfo;
  /** The residual's gradient, of x's shape, which is added to dx. */
  added?: TensorInfo;
}

/** The rows of `x` and their length. */
export function rowsOf(x: TensorInfo): { rows: number; dim: number } {
  const dim = x.shape.at(-1)!;
  return { rows: tf.util.sizeFromShape(x.shape) / dim, dim };
}

const LANES = 64;
/** Rows whose sums one workgroup makes: 64 a lane, few enough to need no second dispatch sooner. */
const CHUNK_ROWS = 64 * LANES;

/** A row is read in vectors where its length allows it. */
function rowType(dim: number): { width: 1 | 4; type: string; sum: (v: string) => string } {
  return dim % 4 === 0
    ? { width: 4, type: "vec4<f32>", sum: (v) => `dot(${v}, vec4<f32>(1.0))` }
    : { width: 1, type: "f32", sum: (v) => v };
}

/** By the data of normalized rows stored as f16: what they are made of. */
const origins = new WeakMap<object, { inputs: Inputs; epsilon: number }>();

/**
 * Calls `use` with normalized rows for a backward pass. Those stored as f16 are made again, to the same
 * bytes: the gradient of the normalization keeps what they are made of anyway, so that they need not
 * be kept from the forward pass on.
 *
 * @param y any tensor; one that is no such rows is passed on
 */
export function withNormalized<T>(y: TensorInfo, use: (y: TensorInfo) => T): T {
  const origin = origins.get(y.dataId);
  if (!origin || !Object.values({ ...origin.inputs }).every(isAlive)) return use(y);
  const again = webgpuForward(origin.inputs, origin.epsilon);
  const result = use({ ...again[0]!, shape: y.shape });
  for (const { dataId } of again) tf.backend().disposeData(dataId);
  return result;
}

function isAlive({ dataId }: TensorInfo): boolean {
  const { tensorMap } = webgpuInternals();
  return tensorMap.has(dataId) && tensorMap.get(dataId).refCount > 0;
}

/** Makes y and the moments of the rows. */
export function webgpuForward(inputs: Inputs, epsilon: number): TensorInfo[] {
  const outputs = normalized(inputs, epsilon);
  const [y] = outputs;
  if (halfOf(y!)) origins.set(y!.dataId, { inputs, epsilon });
  return outputs;
}

function normalized({ x, gamma, beta }: Inputs, epsilon: number): TensorInfo[] {
  const { rows, dim } = rowsOf(x);
  return dispatch({
    key: `layer_norm/${dim}`,
    wgsl: () => forwardWgsl(dim),
    inputs: [x, gamma, beta],
    outputs: [
      { shape: x.shape, dtype: "float32", stored: "activation" },
      { shape: [rows, 2], dtype: "float32" },
    ],
    uniforms: uniformWords([["u", rows], ["f", epsilon]]),
    workgroups: gridOf(Math.ceil(rows / LANES)),
  });
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
${gridWgsl}${gridMainWgsl(LANES)} {
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

/** Makes dx (with `added`, if given), dgamma and dbeta. */
export function webgpuBackward({ dy, x, gamma, moments, added }: GradInputs): TensorInfo[] {
  const { rows, dim } = rowsOf(x);
  const chunks = Math.ceil(rows / CHUNK_ROWS);
  const rowBlocks = Math.ceil(rows / LANES);
  const sumShape = chunks === 1 ? [dim] : [chunks, dim];
  const [dx, ...sums] = dispatch({
    key: `layer_norm_grad/${dim}${added ? "+residual" : ""}`,
    wgsl: () => backwardWgsl(dim, added !== undefined),
    inputs: added ? [dy, x, gamma, moments, added] : [dy, x, gamma, moments],
    outputs: [
      { shape: x.shape, dtype: "float32", stored: "gradient" },
      { shape: sumShape, dtype: "float32" },
      { shape: sumShape, dtype: "float32" },
    ],
    uniforms: uniformWords([["u", rows], ["u", rowBlocks], ["u", chunks]]),
    workgroups: gridOf(rowBlocks + chunks * dim / rowType(dim).width),
  });
  if (chunks === 1) return [dx!, ...sums];
  const totals = sumLeading(sums, chunks);
  for (const sum of sums) tf.backend().disposeData(sum.dataId);
  return [dx!, ...totals];
}

function backwardWgsl(dim: number, residual: boolean): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  const outputs = residual ? 5 : 4;
  return /* wgsl */ `
struct Uniforms { rows: u32, row_blocks: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> dy: array<${type}>;
@group(0) @binding(1) var<storage, read> x: array<${type}>;
@group(0) @binding(2) var<storage, read> gamma: array<${type}>;
@group(0) @binding(3) var<storage, read> moments: array<vec2<f32>>;
${residual ? `@group(0) @binding(4) var<storage, read> added: array<${type}>;` : ""}
@group(0) @binding(${outputs}) var<storage, read_write> dx: array<${type}>;
@group(0) @binding(${outputs + 1}) var<storage, read_write> d_gamma: array<${type}>;
@group(0) @binding(${outputs + 2}) var<storage, read_write> d_beta: array<${type}>;
@group(0) @binding(${outputs + 3}) var<uniform> u: Uniforms;
var<workgroup> gamma_sums: array<${type}, ${LANES}>;
var<workgroup> beta_sums: array<${type}, ${LANES}>;
${gridWgsl}
fn input_gradient(row: u32) {
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
    dx[base + d] = moment.y * (dy[base + d] * gamma[d] - plain_mean - normalized * weighted_mean)
      ${residual ? "+ added[base + d]" : ""};
  }
}

fn column_sums(chunk: u32, d: u32, lane: u32) {
  let end = min((chunk + 1u) * ${CHUNK_ROWS}u, u.rows);
  var of_gamma = ${type}();
  var of_beta = ${type}();
  for (var row = chunk * ${CHUNK_ROWS}u + lane; row < end; row += ${LANES}u) {
    let moment = moments[row];
    let g = dy[row * ${steps}u + d];
    of_gamma += g * ((x[row * ${steps}u + d] - moment.x) * moment.y);
    of_beta += g;
  }
  gamma_sums[lane] = of_gamma;
  beta_sums[lane] = of_beta;
  workgroupBarrier();
  if (lane == 0u) {
    for (var other = 1u; other < ${LANES}u; other++) {
      of_gamma += gamma_sums[other];
      of_beta += beta_sums[other];
    }
    d_gamma[chunk * ${steps}u + d] = of_gamma;
    d_beta[chunk * ${steps}u + d] = of_beta;
  }
}
${gridMainWgsl(LANES)} {
  let block = block_of(workgroup, workgroups);
  if (block < u.row_blocks) {
    let row = block * ${LANES}u + lane;
    if (row < u.rows) { input_gradient(row); }
    return;
  }
  let owner = block - u.row_blocks;
  if (owner >= u.chunks * ${steps}u) { return; }
  column_sums(owner / ${steps}u, owner % ${steps}u, lane);
}
`;
}
