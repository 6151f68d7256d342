/**
 * Counts on the device how often a number was NaN or infinite, so that a trainer need not read each
 * step's gradient norm to know how many updates were left out.
 */
import type { TensorInfo, tf } from "../../tfjs.ts";
import { dispatch } from "../../backend/compute.ts";
import { hostFloats, hostFloatsInPlace } from "../../backend/host.ts";
import { registerKernels, runKernel } from "../register.ts";

const KERNEL = "VitCountNonFinite";

/**
 * Adds 1 to a count, in place, if a value is NaN or infinite.
 * @param count float32 `[1]`, exact up to 2^24
 * @param value float32 scalar
 */
export function countNonFinite(count: tf.Tensor1D, value: tf.Scalar): void {
  runKernel(KERNEL, { count, value });
}

interface Inputs {
  count: TensorInfo;
  value: TensorInfo;
}

function webgpuCount({ count, value }: Inputs): void {
  dispatch({
    key: KERNEL,
    wgsl: () => WGSL,
    inputs: [value],
    outputs: [count],
    workgroups: [1, 1, 1],
  });
}

function hostCount({ count, value }: Inputs): void {
  if (!Number.isFinite(hostFloats(value)[0])) hostFloatsInPlace(count)[0]! += 1;
}

registerKernels({ [KERNEL]: webgpuCount }, { [KERNEL]: hostCount });

/** WGSL: whether a number is NaN or infinite, by its bits; compilers may assume that none is. */
export const isNonFiniteWgsl = /* wgsl */ `
fn is_non_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u; }
`;

const WGSL = /* wgsl */ `
@group(0) @binding(0) var<storage, read> value: array<f32>;
@group(0) @binding(1) var<storage, read_write> count: array<f32>;
${isNonFiniteWgsl}
@compute @workgroup_size(1)
fn main() {
  if (is_non_finite(value[0])) { count[0] += 1.0; }
}
`;
