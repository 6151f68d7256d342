/** Sums over the leading dimension on the webgpu backend, in a fixed order. */
import { dispatch, uniformWords } from "../backend/compute.ts";
import type { Role } from "../backend/precision.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";

/** Tensors of one dispatch: each takes two of the storage buffers, of which WebGPU grants 8. */
const MOST = 4;

/**
 * Sums of tensors over their leading `count` parts, four tensors a dispatch.
 * @param roles what the sums are to the model, where one may be stored as f16
 */
export function sumLeading(parts: TensorInfo[], count: number, roles: Role[] = []): TensorInfo[] {
  if (parts.length > MOST) {
    return [
      ...sumLeading(parts.slice(0, MOST), count, roles.slice(0, MOST)),
      ...sumLeading(parts.slice(MOST), count, roles.slice(MOST)),
    ];
  }
  const sizes = parts.map((part) => tf.util.sizeFromShape(part.shape) / count);
  const threads = sizes.reduce((a, b) => a + b);
  return dispatch({
    key: `sum_leading/${parts.length}`,
    wgsl: () => sumLeadingWgsl(parts.length),
    inputs: parts,
    outputs: parts.map((part, i) => ({
      shape: part.shape.slice(1),
      dtype: "float32",
      stored: roles[i],
    })),
    uniforms: uniformWords([["u", count], ...sizes.map((size): ["u", number] => ["u", size])]),
    workgroups: gridOf(Math.ceil(threads / 64)),
  });
}

function sumLeadingWgsl(count: number): string {
  const names = Array.from({ length: count }, (_, i) => i);
  return /* wgsl */ `
struct Uniforms { count: u32, ${names.map((n) => `size${n}: u32`).join(", ")} }
${names.map((n) => `@group(0) @binding(${n}) var<storage, read> x${n}: array<f32>;`).join("\n")}
${
    names.map((n) => `@group(0) @binding(${count + n}) var<storage, read_write> y${n}: array<f32>;`)
      .join("\n")
  }
@group(0) @binding(${2 * count}) var<uniform> u: Uniforms;
${gridWgsl}
${gridMainWgsl(64)} {
  var i = block_of(workgroup, workgroups) * 64u + lane;
  ${
    names.map((n) =>
      `if (i < u.size${n}) {
    var sum = 0.0;
    for (var part = 0u; part < u.count; part++) { sum += x${n}[part * u.size${n} + i]; }
    y${n}[i] = sum;
    return;
  }
  i -= u.size${n};`
    ).join("\n  ")
  }
}
`;
}
