/**
 * Sums a batch's statistics into a row of running totals, in place: one dispatch a batch, and no
 * read until the trainer asks.
 *
 * A row a batch rather than one sum over all: the trainer adds the rows in float64 and in order, so
 * that its sums do not depend on when it reads, and a read much later still finds the batch whose
 * loss became NaN.
 */
import { type TensorInfo, tf } from "../tfjs.ts";
import { dispatch, uniformWords } from "../backend/compute.ts";
import { hostFloats, hostInts } from "../backend/host.ts";
import { registerKernels, runKernel } from "./register.ts";

const KERNEL = "VitAccumulateMetrics";
const WORKGROUP = 64;

/** Numbers in a row of the totals: summed loss, top-1 hits, top-5 hits, images. */
export const TOTALS_COLUMNS = 4;

/** Fresh totals for `rows` batches, all zero. */
export function zeroTotals(rows: number): tf.Tensor2D {
  return tf.zeros([rows, TOTALS_COLUMNS]);
}

/**
 * Writes the sums over one batch into its row of the totals.
 * @param totals float32 `[rows, 4]` from {@linkcode zeroTotals}
 * @param row which row, 0..rows-1; as a tensor, int32 `[1]`, it is not checked
 * @param stats float32 `[batch, 3]`: loss, top-1 hit, top-5 hit of each image
 * @throws {RangeError} when there is no such row
 */
export function accumulateMetrics(
  totals: tf.Tensor2D,
  row: number | tf.Tensor1D,
  stats: tf.Tensor2D,
): void {
  if (typeof row === "number" && !(row >= 0 && row < totals.shape[0])) {
    throw new RangeError(`Totals of ${totals.shape[0]} rows have no row ${row}.`);
  }
  tf.tidy(() => {
    const at = typeof row === "number" ? tf.tensor1d([row], "int32") : row;
    runKernel(KERNEL, { totals, stats, row: at });
  });
}

interface Inputs {
  totals: TensorInfo;
  stats: TensorInfo;
  /** A tensor, since it changes from step to step. */
  row: TensorInfo;
}

function webgpuAccumulate({ totals, stats, row }: Inputs): void {
  dispatch({
    key: KERNEL,
    wgsl: () => WGSL,
    inputs: [stats, row],
    outputs: [totals],
    uniforms: uniformWords([["u", stats.shape[0]!]]),
    workgroups: [1, 1, 1],
  });
}

function hostAccumulate({ totals, stats, row }: Inputs): void {
  const values = hostFloats(stats);
  const batch = stats.shape[0]!;
  let [loss, top1, top5] = [0, 0, 0];
  for (let i = 0; i < batch; i++) {
    loss += values[i * 3]!;
    top1 += values[i * 3 + 1]!;
    top5 += values[i * 3 + 2]!;
  }
  const [at] = hostInts(row);
  hostFloats(totals).set([loss, top1, top5, batch], at! * TOTALS_COLUMNS);
}

registerKernels({ [KERNEL]: webgpuAccumulate }, { [KERNEL]: hostAccumulate });

const WGSL = /* wgsl */ `
struct Uniforms { batch: u32 }
@group(0) @binding(0) var<storage, read> stats: array<f32>;
@group(0) @binding(1) var<storage, read> row: u32;
@group(0) @binding(2) var<storage, read_write> totals: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> u: Uniforms;
var<workgroup> parts: array<vec3<f32>, ${WORKGROUP}>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = vec3<f32>();
  for (var i = lane; i < u.batch; i += ${WORKGROUP}u) {
    sum += vec3<f32>(stats[i * 3u], stats[i * 3u + 1u], stats[i * 3u + 2u]);
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    var total = vec3<f32>();
    for (var i = 0u; i < ${WORKGROUP}u; i++) { total += parts[i]; }
    totals[row] = vec4<f32>(total, f32(u.batch));
  }
}
`;
