/**
 * Layer normalization in the form `workgroup` (see `../forms.ts`): lanes side by side share a row, so
 * that they read neighbouring addresses, and add what each has found as a tree.
 *
 * The gradients of gamma and beta are sums over rows: a workgroup takes the 64 bytes of some columns
 * from a chunk of rows, its lanes every so many rows, and again adds as a tree.
 */
import { gridMainWgsl, gridWgsl } from "../grid.ts";
import { laneSumWgsl, powerOfTwoWithin } from "../lanes.ts";
import { backwardBindings, forwardBindings, rowType } from "./code.ts";

/** Lanes of a workgroup of the forward pass. */
const FORWARD_LANES = 64;
/** Lanes of one of the backward pass, as many as WebGPU grants: the sums over rows want them. */
const BACKWARD_LANES = 256;
/** Lanes that share a row at most. */
const MOST_LANES = 64;
/**
 * Rows of a chunk: as long as the other form needs no second dispatch this one makes none either;
 * then shorter chunks give more workgroups.
 */
const [ONE_CHUNK, CHUNK_ROWS] = [4096, 512] as const;

/** Lanes that share a row: a power of two, and none without an element. */
function lanesOfRow(dim: number): number {
  return powerOfTwoWithin(dim / rowType(dim).width, MOST_LANES);
}

/** Columns, or vectors of four, that a workgroup sums: 64 bytes of each row. */
const columnsOf = (dim: number) => 16 / rowType(dim).width;

/** Workgroups of the forward pass. */
export function forwardBlocks(rows: number, dim: number): number {
  return Math.ceil(rows * lanesOfRow(dim) / FORWARD_LANES);
}

/** How the backward pass is cut: workgroups for rows of dx, and for columns of all chunks. */
export function backwardCut(
  rows: number,
  dim: number,
): { rowBlocks: number; chunks: number; chunkRows: number; blocks: number } {
  const chunkRows = rows <= ONE_CHUNK ? ONE_CHUNK : CHUNK_ROWS;
  const chunks = Math.ceil(rows / chunkRows);
  const rowBlocks = Math.ceil(rows * lanesOfRow(dim) / BACKWARD_LANES);
  const across = Math.ceil(dim / rowType(dim).width / columnsOf(dim));
  return { rowBlocks, chunks, chunkRows, blocks: rowBlocks + chunks * across };
}

/** Makes y and the moments of the rows. */
export function forwardWgsl(dim: number): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  const count = lanesOfRow(dim);
  return /* wgsl */ `
${forwardBindings(type)}
${laneSumWgsl({ name: "row_sum", type: "f32", lanes: FORWARD_LANES, count, stride: 1 })}
${gridWgsl}${gridMainWgsl(FORWARD_LANES)} {
  let own = block_of(workgroup, workgroups) * ${FORWARD_LANES / count}u + lane / ${count}u;
  // All lanes must meet at the sums: those beyond the last row read it again and write nothing.
  let row = min(own, u.rows - 1u);
  let first = lane % ${count}u;
  let base = row * ${steps}u;
  var total = ${type}();
  for (var d = first; d < ${steps}u; d += ${count}u) { total += x[base + d]; }
  let mean = row_sum(lane, ${sum("total")}) * ${1 / dim};
  // The second pass over the row keeps precision when the mean is far larger than the deviation.
  var squares = ${type}();
  for (var d = first; d < ${steps}u; d += ${count}u) {
    let centered = x[base + d] - mean;
    squares += centered * centered;
  }
  let scale = inverseSqrt(row_sum(lane, ${sum("squares")}) * ${1 / dim} + u.epsilon);
  if (own >= u.rows) { return; }
  for (var d = first; d < ${steps}u; d += ${count}u) {
    y[base + d] = (x[base + d] - mean) * scale * gamma[d] + beta[d];
  }
  if (first == 0u) { moments[row] = vec2<f32>(mean, scale); }
}
`;
}

/** Makes dx, with the residual's gradient if there is one, dgamma and dbeta. */
export function backwardWgsl(dim: number, residual: boolean): string {
  const { width, type, sum } = rowType(dim);
  const steps = dim / width;
  const count = lanesOfRow(dim);
  const columns = columnsOf(dim);
  const across = Math.ceil(steps / columns);
  const slices = BACKWARD_LANES / columns;
  const lanes = BACKWARD_LANES;
  return /* wgsl */ `
${backwardBindings(type, residual)}
${laneSumWgsl({ name: "row_sum", type: "vec2<f32>", lanes, count, stride: 1 })}
${laneSumWgsl({ name: "column_sum", type, lanes, count: slices, stride: columns })}
${gridWgsl}
fn input_gradient(own: u32, lane: u32) {
  let row = min(own, u.rows - 1u);
  let first = lane % ${count}u;
  let base = row * ${steps}u;
  let moment = moments[row];
  var plain = ${type}();
  var weighted = ${type}();
  for (var d = first; d < ${steps}u; d += ${count}u) {
    let g = dy[base + d] * gamma[d];
    plain += g;
    weighted += g * ((x[base + d] - moment.x) * moment.y);
  }
  let means = row_sum(lane, vec2<f32>(${sum("plain")}, ${sum("weighted")})) * ${1 / dim};
  if (own >= u.rows) { return; }
  for (var d = first; d < ${steps}u; d += ${count}u) {
    let normalized = (x[base + d] - moment.x) * moment.y;
    dx[base + d] = moment.y * (dy[base + d] * gamma[d] - means.x - normalized * means.y)
      ${residual ? "+ added[base + d]" : ""};
  }
}

fn column_sums(chunk: u32, d: u32, lane: u32) {
  let slice = lane / ${columns}u;
  let end = min((chunk + 1u) * u.chunk_rows, u.rows);
  var of_gamma = ${type}();
  var of_beta = ${type}();
  if (d < ${steps}u) {
    for (var row = chunk * u.chunk_rows + slice; row < end; row += ${slices}u) {
      let moment = moments[row];
      let g = dy[row * ${steps}u + d];
      of_gamma += g * ((x[row * ${steps}u + d] - moment.x) * moment.y);
      of_beta += g;
    }
  }
  of_gamma = column_sum(lane, of_gamma);
  of_beta = column_sum(lane, of_beta);
  if (slice == 0u && d < ${steps}u) {
    d_gamma[chunk * ${steps}u + d] = of_gamma;
    d_beta[chunk * ${steps}u + d] = of_beta;
  }
}
${gridMainWgsl(BACKWARD_LANES)} {
  let block = block_of(workgroup, workgroups);
  if (block < u.row_blocks) {
    input_gradient(block * ${BACKWARD_LANES / count}u + lane / ${count}u, lane);
    return;
  }
  let owner = block - u.row_blocks;
  if (owner >= u.chunks * ${across}u) { return; }
  column_sums(owner / ${across}u, owner % ${across}u * ${columns}u + lane % ${columns}u, lane);
}
`;
}
