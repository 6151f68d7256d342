/**
 * The WGSL of layer_norm.ts: the dispatches of both forms (see `../forms.ts`), and the code of the
 * form `thread`; `workgroup_wgsl.ts` has the other.
 *
 * The backward pass is one dispatch of two kinds of workgroups. Those before `row_blocks` make dx,
 * a lane a row. Each of the others owns one column (four, as a vector) of a chunk of rows and sums
 * its dgamma and dbeta; rows beyond one chunk take a second dispatch, which adds the chunks.
 */
import { dispatch, uniformWords, unsigned } from "../../backend/compute.ts";
import { halfOf } from "../../backend/half.ts";
import { webgpuInternals } from "../../backend/tfjs_internals.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { chooseForm, type FormedShape } from "../forms.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { sumLeading, sumShapes } from "../sum_leading.ts";
import { dispose } from "../register.ts";
import { backwardBindings, forwardBindings, rowType } from "./code.ts";
import * as shared from "./workgroup_wgsl.ts";

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
  dispose(...again);
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
  const isShared = chooseForm({ kernel: "layer_norm", rows, dim }) === "workgroup";
  return dispatch({
    key: `layer_norm${isShared ? "_shared" : ""}/${dim}`,
    wgsl: () => isShared ? shared.forwardWgsl(dim) : forwardWgsl(dim),
    inputs: [x, gamma, beta],
    outputs: [
      { shape: x.shape, dtype: "float32", stored: "activation" },
      { shape: [rows, 2], dtype: "float32" },
    ],
    uniforms: uniformWords([["u", rows], ["f", epsilon]]),
    workgroups: gridOf(isShared ? shared.forwardBlocks(rows, dim) : Math.ceil(rows / LANES)),
  });
}

function forwardWgsl(dim: number): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  return /* wgsl */ `
${forwardBindings(type)}
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
  const isShared = chooseForm({ kernel: "layer_norm_grad", rows, dim }) === "workgroup";
  const cut = isShared ? shared.backwardCut(rows, dim) : backwardCut(rows, dim);
  const { chunks } = cut;
  const sumShape = chunks === 1 ? [dim] : [chunks, dim];
  const [dx, ...sums] = dispatch({
    key: `layer_norm_grad${isShared ? "_shared" : ""}/${dim}${added ? "+residual" : ""}`,
    wgsl: () => (isShared ? shared.backwardWgsl : backwardWgsl)(dim, added !== undefined),
    inputs: added ? [dy, x, gamma, moments, added] : [dy, x, gamma, moments],
    outputs: [
      { shape: x.shape, dtype: "float32", stored: "gradient" },
      { shape: sumShape, dtype: "float32" },
      { shape: sumShape, dtype: "float32" },
    ],
    uniforms: uniformWords(unsigned(rows, cut.rowBlocks, chunks, cut.chunkRows)),
    workgroups: gridOf(cut.blocks),
  });
  if (chunks === 1) return [dx!, ...sums];
  const totals = sumLeading(sums, chunks);
  dispose(...sums);
  return [dx!, ...totals];
}

/** The shapes of the sums of chunks in either form, for {@linkcode sumLeading}. */
export function sumShapesOfGradient(rows: number, dim: number): FormedShape[] {
  return [backwardCut, shared.backwardCut].map((cut) => cut(rows, dim).chunks)
    .filter((chunks) => chunks > 1)
    .flatMap((chunks) => sumShapes([dim, dim], chunks));
}

function backwardCut(rows: number, dim: number): ReturnType<typeof shared.backwardCut> {
  const chunks = Math.ceil(rows / CHUNK_ROWS);
  const rowBlocks = Math.ceil(rows / LANES);
  const blocks = rowBlocks + chunks * dim / rowType(dim).width;
  return { rowBlocks, chunks, chunkRows: CHUNK_ROWS, blocks };
}

function backwardWgsl(dim: number, residual: boolean): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  return /* wgsl */ `
${backwardBindings(type, residual)}
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
