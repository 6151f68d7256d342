/** Sums over the leading dimension on the webgpu backend, in a fixed order. */
import { dispatch, uniformWords } from "../backend/compute.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridOf, gridWgsl } from "./grid.ts";

/** Sums of one or two tensors over their leading `count` parts, in one dispatch. */
export function sumLeading(parts: TensorInfo[], count: number): TensorInfo[] {
  const sizes = parts.map((part) => tf.util.sizeFromShape(part.shape) / count);
  const threads = sizes.reduce((a, b) => a + b);
  return dispatch({
    key: `sum_leading/${parts.length}`,
    wgsl: () => sumLeadingWgsl(parts.length),
    inputs: parts,
    outputs: parts.map((part) => ({ shape: part.shape.slice(1), dtype: "float32" })),
    uniforms: uniformWords([["u", count], ["u", sizes[0]!], ["u", sizes[1] ?? 0]]),
    workgroups: gridOf(Math.ceil(threads / 64)),
  });
}

function sumLeadingWgsl(count: number): string {
  const index = (i: number) => i === 0 ? "i" : "(i - u.size0)";
  const names = Array.from({ length: count }, (_, i) => i);
  return /* wgsl */ `
struct Uniforms { count: u32, size0: u32, size1: u32 }
${names.map((i) => `@group(0) @binding(${i}) var<storage, read> x${i}: array<f32>;`).join("\n")}
${
    names.map((i) => `@group(0) @binding(${count + i}) var<storage, read_write> y${i}: array<f32>;`)
      .join("\n")
  }
@group(0) @binding(${2 * count}) var<uniform> u: Uniforms;
${gridWgsl}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = block_of(workgroup, workgroups) * 64u + lane;
  ${
    names.map((n) =>
      `if (${n === 0 ? "i < u.size0" : "i >= u.size0 && i - u.size0 < u.size1"}) {
    var sum = 0.0;
    for (var part = 0u; part < u.count; part++) { sum += x${n}[part * u.size${n} + ${index(n)}]; }
    y${n}[${index(n)}] = sum;
  }`
    ).join("\n  ")
  }
}
`;
}
