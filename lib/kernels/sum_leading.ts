/**
 * Sums over the leading dimension on the webgpu backend, in a fixed order, in both forms of
 * `forms.ts`: a thread makes a sum alone, or the lanes of a workgroup each add every so many of the
 * parts, and then what they have as a tree.
 */
import { dispatch, uniformWords } from "../backend/compute.ts";
import type { Role } from "../backend/precision.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { chooseForm, type FormedShape } from "./forms.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { laneSumWgsl, powerOfTwoWithin } from "./lanes.ts";

/** Tensors of one dispatch: each takes two of the storage buffers, of which WebGPU grants 8. */
const MOST = 4;
/** Lanes of a workgroup, and how many of them share a sum at most: the others lie side by side. */
const [SHARED_LANES, MOST_SLICES] = [256, 32] as const;

/** The shapes that {@linkcode sumLeading} chooses forms for, for sums of these sizes. */
export function sumShapes(sizes: readonly number[], count: number): FormedShape[] {
  return Array.from({ length: Math.ceil(sizes.length / MOST) }, (_, i) => {
    const size = sizes.slice(i * MOST, (i + 1) * MOST).reduce((a, b) => a + b);
    return { kernel: "sum_leading", count, size };
  });
}

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
  const isShared = chooseForm({ kernel: "sum_leading", count, size: threads }) === "workgroup";
  const slices = powerOfTwoWithin(count, MOST_SLICES);
  const blocksOf = (size: number) => Math.ceil(size * slices / SHARED_LANES);
  return dispatch({
    key: isShared ? `sum_leading_shared/${parts.length}/${slices}` : `sum_leading/${parts.length}`,
    wgsl: () => isShared ? sharedWgsl(parts.length, slices) : sumLeadingWgsl(parts.length),
    inputs: parts,
    outputs: parts.map((part, i) => ({
      shape: part.shape.slice(1),
      dtype: "float32",
      stored: roles[i],
    })),
    uniforms: uniformWords([["u", count], ...sizes.map((size): ["u", number] => ["u", size])]),
    workgroups: gridOf(
      isShared ? sizes.reduce((sum, size) => sum + blocksOf(size), 0) : Math.ceil(threads / 64),
    ),
  });
}

function bindings(count: number): string {
  const names = numbers(count);
  return /* wgsl */ `
struct Uniforms { count: u32, ${names.map((n) => `size${n}: u32`).join(", ")} }
${names.map((n) => `@group(0) @binding(${n}) var<storage, read> x${n}: array<f32>;`).join("\n")}
${
    names.map((n) => `@group(0) @binding(${count + n}) var<storage, read_write> y${n}: array<f32>;`)
      .join("\n")
  }
@group(0) @binding(${2 * count}) var<uniform> u: Uniforms;
`;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function sumLeadingWgsl(count: number): string {
  return /* wgsl */ `
${bindings(count)}${gridWgsl}
${gridMainWgsl(64)} {
  var i = block_of(workgroup, workgroups) * 64u + lane;
  ${
    numbers(count).map((n) =>
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

/** A workgroup has some sums of one tensor side by side, and of each as many slices of the parts. */
function sharedWgsl(count: number, slices: number): string {
  const [lanes, stride] = [SHARED_LANES, SHARED_LANES / slices];
  return /* wgsl */ `
${bindings(count)}${gridWgsl}
${laneSumWgsl({ name: "slice_sum", type: "f32", lanes, count: slices, stride })}
${gridMainWgsl(SHARED_LANES)} {
  var block = block_of(workgroup, workgroups);
  let slice = lane / ${stride}u;
  ${
    numbers(count).map((n) =>
      `let blocks${n} = (u.size${n} + ${stride - 1}u) / ${stride}u;
  if (block < blocks${n}) {
    let i = block * ${stride}u + lane % ${stride}u;
    var sum = 0.0;
    if (i < u.size${n}) {
      for (var part = slice; part < u.count; part += ${slices}u) {
        sum += x${n}[part * u.size${n} + i];
      }
    }
    sum = slice_sum(lane, sum);
    if (slice == 0u && i < u.size${n}) { y${n}[i] = sum; }
    return;
  }
  block -= blocks${n};`
    ).join("\n  ")
  }
}
`;
}
