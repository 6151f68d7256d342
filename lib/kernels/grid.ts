/**
 * One-dimensional work of any size over WebGPU's workgroup grid, which allows only so many
 * workgroups in each direction.
 */
const MAX_WORKGROUPS = 65535;

/** Workgroups in x, y, z for `count` blocks of work; a few at the end may have nothing to do. */
export function gridOf(count: number): [number, number, number] {
  const rows = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / Math.max(1, rows)), rows, 1];
}

/** WGSL: the number of this workgroup in a grid made by {@linkcode gridOf}. */
export const gridWgsl = /* wgsl */ `
fn block_of(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
  return workgroup.y * workgroups.x + workgroup.x;
}
`;

/**
 * WGSL: the head of an entry point whose workgroups are those of {@linkcode gridOf}. The body sees
 * `lane` and asks `block_of(workgroup, workgroups)`.
 */
export function gridMainWgsl(lanes: number): string {
  return /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
)`;
}
