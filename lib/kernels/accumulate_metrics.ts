/**
 * Sums a batch's statistics into running totals, in place: one dispatch, and no read until the
 * trainer asks.
 *
 * totals float32 `[5]`: summed loss, top-1 hits, top-5 hits, images, and the number of batches
 * whose loss was finite before the first that was not, so that a read much later still names the
 * step at which the loss became NaN.
 */
import { type TensorInfo, tf } from "../tfjs.ts";
import { dispatch, uniformWords } from "../backend/compute.ts";
import { hostBackends, hostFloats } from "../backend/host.ts";

const KERNEL = "VitAccumulateMetrics";
const WORKGROUP = 64;

/** Fresh totals, all zero. */
export function zeroTotals(): tf.Tensor1D {
  return tf.zeros([5]);
}

/**
 * Adds the statistics of one batch to the totals in place.
 * @param totals float32 `[5]` from {@linkcode zeroTotals}
 * @param stats float32 `[batch, 3]`: loss, top-1 hit, top-5 hit of each image
 */
export function accumulateMetrics(totals: tf.Tensor1D, stats: tf.Tensor2D): void {
  tf.engine().runKernel(KERNEL, { totals, stats });
}

interface Inputs {
  totals: TensorInfo;
  stats: TensorInfo;
}

for (const backendName of hostBackends) {
  tf.registerKernel({
    kernelName: KERNEL,
    backendName,
    kernelFunc: ({ inputs }) => {
      const { totals, stats } = inputs as unknown as Inputs;
      const sums = hostFloats(totals);
      const rows = hostFloats(stats);
      const batch = stats.shape[0]!;
      let [loss, top1, top5] = [0, 0, 0];
      for (let i = 0; i < batch; i++) {
        loss += rows[i * 3]!;
        top1 += rows[i * 3 + 1]!;
        top5 += rows[i * 3 + 2]!;
      }
      if (Number.isFinite(sums[0]!) && Number.isFinite(loss)) sums[4]! += 1;
      sums[0]! += loss;
      sums[1]! += top1;
      sums[2]! += top5;
      sums[3]! += batch;
      return [];
    },
  });
}

tf.registerKernel({
  kernelName: KERNEL,
  backendName: "webgpu",
  kernelFunc: ({ inputs }) => {
    const { totals, stats } = inputs as unknown as Inputs;
    dispatch({
      key: KERNEL,
      wgsl: () => WGSL,
      inputs: [stats],
      outputs: [totals],
      uniforms: uniformWords([["u", stats.shape[0]!]]),
      workgroups: [1, 1, 1],
    });
    return [];
  },
});

// The exponent bits tell a finite number; comparisons with NaN may be optimized away.
const WGSL = /* wgsl */ `
@group(0) @binding(0) var<storage, read> stats: array<f32>;
@group(0) @binding(1) var<storage, read_write> totals: array<f32>;
@group(0) @binding(2) var<uniform> batch: vec4<u32>;
var<workgroup> parts: array<vec3<f32>, ${WORKGROUP}>;
fn finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = vec3<f32>();
  for (var i = lane; i < batch.x; i += ${WORKGROUP}u) {
    sum += vec3<f32>(stats[i * 3u], stats[i * 3u + 1u], stats[i * 3u + 2u]);
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    var total = vec3<f32>();
    for (var i = 0u; i < ${WORKGROUP}u; i++) { total += parts[i]; }
    if (finite(totals[0]) && finite(total.x)) { totals[4] += 1.0; }
    totals[0] += total.x;
    totals[1] += total.y;
    totals[2] += total.z;
    totals[3] += f32(batch.x);
  }
}
`;
