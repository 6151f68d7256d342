/**
 * Copies of tensors in another storage, and what keeps tfjs from taking f16 for float32: its own
 * operations and reads get a float32 copy that lives no longer than they need it.
 */
import { type TensorInfo, tf, type WebGPUBackend } from "../tfjs.ts";
import { dispatch, type NewOutput, uniformWords } from "./compute.ts";
import { halfOf } from "./half.ts";
import type { WebgpuInternals } from "./tfjs_internals.ts";

const LANES = 64;
const MOST_WORKGROUPS = 65535;

/** A copy of a tensor on the webgpu backend, float32 or as `stored` says. */
export function copied(x: TensorInfo, stored?: NewOutput["stored"]): TensorInfo {
  const size = tf.util.sizeFromShape(x.shape);
  const width = size % 4 === 0 ? 4 : 1;
  return dispatch({
    key: `copied/${width}`,
    wgsl: () => copyWgsl(width === 4 ? "vec4<f32>" : "f32"),
    inputs: [x],
    outputs: [{ shape: x.shape, dtype: "float32", stored }],
    uniforms: uniformWords([["u", size / width]]),
    workgroups: [Math.min(MOST_WORKGROUPS, Math.ceil(size / width / LANES)), 1, 1],
  })[0]!;
}

function copyWgsl(type: string): string {
  return /* wgsl */ `
struct Uniforms { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read_write> y: array<${type}>;
@group(0) @binding(2) var<uniform> u: Uniforms;
@compute @workgroup_size(${LANES})
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
) {
  for (var i = id.x; i < u.count; i += workgroups.x * ${LANES}u) { y[i] = x[i]; }
}
`;
}

/** Has a backend of tfjs widen what is f16 before an operation of its own, or a read. */
export function widening(backend: WebGPUBackend): WebGPUBackend {
  const internals = backend as unknown as WebgpuInternals;
  const runProgram = internals.runWebGPUProgram.bind(backend);
  const read = internals.read.bind(backend);
  internals.runWebGPUProgram = (program, inputs, ...rest) => {
    if (!inputs.some(halfOf)) return runProgram(program, inputs, ...rest);
    const given = inputs.map((input) => halfOf(input) ? copied(input) : input);
    try {
      return runProgram(program, given, ...rest);
    } finally {
      given.forEach((tensor, i) => {
        if (tensor !== inputs[i]) internals.disposeData(tensor.dataId);
      });
    }
  };
  internals.read = async (dataId) => {
    const half = halfOf({ dataId });
    if (!half) return await read(dataId);
    const wide = copied({ dataId, shape: [half.size], dtype: "float32" });
    try {
      return await read(wide.dataId);
    } finally {
      internals.disposeData(wide.dataId);
    }
  };
  return backend;
}
