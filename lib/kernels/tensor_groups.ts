/**
 * Elementwise work over many tensors of different sizes in few dispatches: each binds as many
 * tensors as the device allows, in a shader with one branch per tensor; a table in the uniform
 * block says which workgroups serve which tensor.
 *
 * A large tensor gets a dispatch of its own, because a software adapter walks through every branch.
 */
import { webgpuBackend } from "../backend/compute.ts";
import { type TensorInfo, tf } from "../tfjs.ts";

/** Lanes of a workgroup. */
export const LANES = 64;
/** Loads (of vec4 where the size allows) that one lane makes. */
const ROUNDS = 16;
/** Above this many loads a tensor has a dispatch of its own. */
const ALONE = 1 << 17;
/** Branches of one shader; more are no use, and compilers slow down. */
const MOST_BRANCHES = 32;

/** Tensors of one dispatch, by index. */
export interface Group {
  width: 1 | 4;
  members: number[];
}

/** Packs tensors of the given sizes so that no dispatch has more than `capacity` of them. */
export function groupsOf(sizes: number[], capacity: number): Group[] {
  const groups: Group[] = [];
  const open: { [width: number]: Group } = {};
  const most = Math.max(1, Math.min(capacity, MOST_BRANCHES));
  sizes.forEach((size, index) => {
    if (size === 0) return;
    const width = size % 4 === 0 ? 4 : 1;
    if (size / width > ALONE) {
      groups.push({ width, members: [index] });
      return;
    }
    let group = open[width];
    if (!group || group.members.length === most) {
      group = open[width] = { width, members: [] };
      groups.push(group);
    }
    group.members.push(index);
  });
  return groups;
}

/** Storage buffers that a dispatch can bind. */
export function mostBuffers(): number {
  return webgpuBackend().device.limits.maxStorageBuffersPerShaderStage;
}

/** Rows [first workgroup, end workgroup, loads, flag] of a group, and its number of workgroups. */
export function tableOf(
  { width, members }: Group,
  sizes: number[],
  flags: (index: number) => number,
) {
  const rows: ["u", number][] = [];
  let blocks = 0;
  for (const index of members) {
    const loads = sizes[index]! / width;
    const end = blocks + Math.ceil(loads / (LANES * ROUNDS));
    rows.push(["u", blocks], ["u", end], ["u", loads], ["u", flags(index)]);
    blocks = end;
  }
  return { rows, blocks };
}

/** The number of elements of a tensor. */
export const sizeOf = (tensor: TensorInfo): number => tf.util.sizeFromShape(tensor.shape);

/** WGSL: the head of the entry point. */
export const mainWgsl = /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
)`;

/** One branch per tensor of a group around `body`, which sees its index `i` and its `row`. */
export function branchesWgsl(count: number, body: (k: number) => string): string {
  return Array.from({ length: count }, (_, k) => /* wgsl */ `
  if (block >= u.table[${k}].x && block < u.table[${k}].y) {
    let row = u.table[${k}];
    let begin = (block - row.x) * ${LANES * ROUNDS}u;
    let end = min(row.z, begin + ${LANES * ROUNDS}u);
    for (var i = begin + lane; i < end; i += ${LANES}u) {
      ${body(k)}
    }
  }`).join("");
}
