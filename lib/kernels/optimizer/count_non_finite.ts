/**
 * Counts on the device how often a number was NaN or infinite, so that a trainer need not read each
 * step's gradient norm to know how many updates were left out.
 */
import { type TensorInfo, tf } from "../../tfjs.ts";
import { dispatch } from "../../backend/compute.ts";
import { hostBackends, hostFloats, hostFloatsInPlace } from "../../backend/host.ts";

const KERNEL = "VitCountNonFinite";

/**
 * Adds 1 to a count, in place, if a value is NaN or infinite.
 * @param count float32 `[1]`, exact up to 2^24
 * @param value float32 scalar
 */
export function countNonFinite(count: tf.Tensor1D, value: tf.Scalar): void {
  tf.engine().runKernel(KERNEL, { count, value });
}

interface Inputs {
  count: TensorInfo;
  value: TensorInfo;
}

for (const backendName of hostBackends) {
  tf.registerKernel({
    kernelName: KERNEL,
    backendName,
    kernelFunc: ({ inputs }) => {
      const { count, value } = inputs as unknown as Inputs;
      if (!Number.isFinite(hostFloats(value)[0])) hostFloatsInPlace(count)[0]! += 1;
      return [];
    },
  });
}

tf.registerKernel({
  kernelName: KERNEL,
  backendName: "webgpu",
  kernelFunc: ({ inputs }) => {
    const { count, value } = inputs as unknown as Inputs;
    dispatch({
      key: KERNEL,
      wgsl: () => WGSL,
      inputs: [value],
      outputs: [count],
      workgroups: [1, 1, 1],
    });
    return [];
  },
});

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
