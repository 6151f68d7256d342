/**
 * The global norm of a model's gradients, for clipping and for a look at training's health.
 */
import { dispatch, uniformWords, webgpuBackend } from "../../backend/compute.ts";
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import type { TensorInfo, tf } from "../../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { registerKernels, runKernel } from "../register.ts";
import { branchesWgsl, groupsOf, LANES, mostBuffers, sizeOf, tableOf } from "./tensor_groups.ts";

/**
 * The sum of the squares of all elements: the global gradient norm is its root. Summed in a fixed
 * order, so equal gradients give equal bits.
 *
 * @param tensors float32 of any shapes; at least one.
 */
export function squaredNorm(tensors: TensorInfo[]): tf.Scalar {
  if (tensors.length === 0) throw new Error("The norm of no tensors was asked for.");
  return runKernel<tf.Scalar>("VitSquaredNorm", {}, { tensors });
}

/** Not inputs, which tfjs takes by name. */
interface Attributes {
  tensors: TensorInfo[];
}

function webgpuSquaredNorm(_inputs: unknown, { tensors }: Attributes): TensorInfo {
  const sizes = tensors.map(sizeOf);
  const groups = groupsOf(sizes, mostBuffers() - 1);
  const tables = groups.map((group) => tableOf(group, sizes));
  const count = tables.reduce((sum, { blocks }) => sum + blocks, 0);
  const partials = webgpuBackend().makeTensorInfo([Math.max(1, count)], "float32");
  let first = 0;
  groups.forEach(({ width, members }, n) => {
    const { rows, rounds, blocks } = tables[n]!;
    dispatch({
      key: `squared_norm/${width}x${members.length},${rounds}`,
      wgsl: () => squaresWgsl(width, members.length, rounds),
      inputs: members.map((index) => tensors[index]!),
      outputs: [partials],
      uniforms: uniformWords([["u", first], ["u", blocks], ["u", 0], ["u", 0], ...rows]),
      workgroups: gridOf(blocks),
    });
    first += blocks;
  });
  const [sum] = dispatch({
    key: "squared_norm/sum",
    wgsl: () => sumWgsl,
    inputs: [partials],
    outputs: [{ shape: [], dtype: "float32" }],
    uniforms: uniformWords([["u", count]]),
    workgroups: [1, 1, 1],
  });
  webgpuBackend().disposeData(partials.dataId);
  return sum!;
}

/** A tree over the workgroup, in a fixed order. */
function treeWgsl(lanes: number): string {
  return /* wgsl */ `
var<workgroup> sums: array<f32, ${lanes}>;
fn total_of(lane: u32, value: f32) -> f32 {
  sums[lane] = value;
  workgroupBarrier();
  for (var width = ${lanes / 2}u; width > 0u; width >>= 1u) {
    if (lane < width) { sums[lane] += sums[lane + width]; }
    workgroupBarrier();
  }
  return sums[0];
}
`;
}

function squaresWgsl(width: 1 | 4, count: number, rounds: number): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const square = width === 4 ? "dot(value, value)" : "value * value";
  return /* wgsl */ `
struct Uniforms { first: u32, blocks: u32, table: array<vec4<u32>, ${count}> }
${
    Array.from({ length: count }, (_, k) =>
      `@group(0) @binding(${k}) var<storage, read> g${k}: array<${type}>;`).join("\n")
  }
@group(0) @binding(${count}) var<storage, read_write> partials: array<f32>;
@group(0) @binding(${count + 1}) var<uniform> u: Uniforms;
${gridWgsl}${treeWgsl(LANES)}${gridMainWgsl(LANES)} {
  let block = block_of(workgroup, workgroups);
  var sum = 0.0;
  ${branchesWgsl(count, rounds, (k) => `let value = g${k}[i]; sum += ${square};`)}
  let total = total_of(lane, sum);
  if (lane == 0u && block < u.blocks) { partials[u.first + block] = total; }
}
`;
}

const sumWgsl = /* wgsl */ `
struct Uniforms { count: u32 }
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
${treeWgsl(256)}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < u.count; i += 256u) { sum += partials[i]; }
  let total = total_of(lane, sum);
  if (lane == 0u) { result[0] = total; }
}
`;

function hostSquaredNorm(_inputs: unknown, { tensors }: Attributes): TensorInfo {
  const output = hostAllocate([]);
  let sum = 0;
  for (const tensor of tensors) {
    const values = hostFloats(tensor);
    for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  }
  hostFloats(output)[0] = sum;
  return output;
}

registerKernels({ VitSquaredNorm: webgpuSquaredNorm }, { VitSquaredNorm: hostSquaredNorm });
