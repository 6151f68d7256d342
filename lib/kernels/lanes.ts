/** Sums over the lanes of a workgroup, in a fixed order. */

/** The lanes that {@linkcode laneSumWgsl} adds up. */
export interface LaneSum {
  /** Name of the WGSL function. */
  name: string;
  /** Type of what is added, a float or a vector of them. */
  type: string;
  /** Lanes of the workgroup. */
  lanes: number;
  /** How many are added up to one sum; a power of two. */
  count: number;
  /** How far these are from one another: 1 for neighbours. */
  stride: number;
}

/** The largest power of two that is at most `size`, and at most `most`. */
export function powerOfTwoWithin(size: number, most: number): number {
  return 2 ** Math.floor(Math.log2(Math.min(size, most)));
}

/**
 * WGSL: `name(lane, value)`, which all lanes of the workgroup must call, gives each the sum of its
 * `count` lanes, added as a tree.
 */
export function laneSumWgsl({ name, type, lanes, count, stride }: LaneSum): string {
  const place = stride === 1 ? `lane % ${count}u` : `lane / ${stride}u % ${count}u`;
  return /* wgsl */ `
var<workgroup> parts_of_${name}: array<${type}, ${lanes}>;
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  parts_of_${name}[lane] = value;
  let place = ${place};
  for (var reach = ${Math.floor(count / 2)}u; reach > 0u; reach >>= 1u) {
    workgroupBarrier();
    if (place < reach) { parts_of_${name}[lane] += parts_of_${name}[lane + reach * ${stride}u]; }
  }
  workgroupBarrier();
  let sum = parts_of_${name}[lane - place * ${stride}u];
  // Before anybody may write the next one's parts.
  workgroupBarrier();
  return sum;
}
`;
}
