/**
 * Elementwise work over many tensors of different sizes in few dispatches: each binds as many
 * tensors as the device allows, in a shader with one branch per tensor; a table in the uniform
 * block says which workgroups serve which tensor.
 *
 * Large tensors keep to themselves, because a software adapter walks through every branch in every
 * workgroup, and their workgroups make more loads, so that the walk weighs less.
 */
import { webgpuBackend } from "../../backend/compute.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";

/** Lanes of a workgroup. */
export const LANES = 64;
/** Above this many loads a tensor is large. */
const LARGE = 1 << 17;
/** Loads (of vec4 where the size allows) that one lane makes in a group of small and of large. */
const ROUNDS = { small: 16, large: 128 };
/** Branches of one shader; more are no use, and compilers slow down. */
const MOST_BRANCHES = 32;

/** Tensors of one dispatch, by index. */
export interface Group {
  width: 1 | 4;
  members: number[];
}

/**
 * Packs tensors of the given sizes into groups of like kind.
 *
 * @param capacity how many tensors one dispatch can take
 * @param mostElements how many elements a group may have, unless one tensor alone has more
 */
export function groupsOf(sizes: number[], capacity: number, mostElements = Infinity): Group[] {
  const groups: Group[] = [];
  const open = new Map<string, { group: Group; elements: number }>();
  const most = Math.max(1, Math.min(capacity, MOST_BRANCHES));
  sizes.forEach((size, index) => {
    if (size === 0) return;
    const width = size % 4 === 0 ? 4 : 1;
    const kind = `${width},${isLarge(size, width)}`;
    let last = open.get(kind);
    if (!last || last.group.members.length === most || last.elements + size > mostElements) {
      last = { group: { width, members: [] }, elements: 0 };
      open.set(kind, last);
      groups.push(last.group);
    }
    last.group.members.push(index);
    last.elements += size;
  });
  return groups;
}

function isLarge(size: number, width: 1 | 4): boolean {
  return size / width > LARGE;
}

/** Storage buffers that a dispatch can bind. */
export function mostBuffers(): number {
  return webgpuBackend().device.limits.maxStorageBuffersPerShaderStage;
}

/**
 * Numbers that a shader must know of a group: rows [first workgroup, loads, ...extra] for its
 * uniform block, how many loads a lane makes, and its number of workgroups.
 */
export function tableOf(
  { width, members }: Group,
  sizes: number[],
  extra: (index: number) => [number, number] = () => [0, 0],
): { rows: ["u", number][]; rounds: number; blocks: number } {
  const large = members.some((index) => isLarge(sizes[index]!, width));
  const rounds = large ? ROUNDS.large : ROUNDS.small;
  const rows: ["u", number][] = [];
  let blocks = 0;
  for (const index of members) {
    const loads = sizes[index]! / width;
    const [z, w] = extra(index);
    rows.push(["u", blocks], ["u", loads], ["u", z], ["u", w]);
    blocks += Math.ceil(loads / (LANES * rounds));
  }
  return { rows, rounds, blocks };
}

/** The number of elements of a tensor. */
export const sizeOf = (tensor: TensorInfo): number => tf.util.sizeFromShape(tensor.shape);

/** One branch per tensor of a group around `body`, which sees its index `i` and its `row`. */
export function branchesWgsl(
  count: number,
  rounds: number,
  body: (k: number) => string,
): string {
  // Of a later tensor's workgroup the beginning is past the end.
  return Array.from({ length: count }, (_, k) => /* wgsl */ `
  {
    let row = u.table[${k}];
    let begin = (block - row.x) * ${LANES * rounds}u;
    if (block >= row.x && begin < row.y) {
      let end = min(row.y, begin + ${LANES * rounds}u);
      for (var i = begin + lane; i < end; i += ${LANES}u) {
        ${body(k)}
      }
    }
  }`).join("");
}
