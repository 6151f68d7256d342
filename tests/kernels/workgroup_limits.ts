import { assert } from "@std/assert";

/** WebGPU's least limits on a workgroup. */
const [MOST_BYTES, MOST_LANES] = [16 * 1024, 256];

const bytesOf: Record<string, number> = { f32: 4, "vec2<f32>": 8, "vec4<f32>": 16 };

/** Asserts that a module asks of a workgroup no more than every WebGPU must grant. */
export function assertWithinLimits(name: string, wgsl: string): void {
  const alias = /alias Rows = ([\w<>]+);/.exec(wgsl)?.[1];
  let bytes = 0;
  for (const [, type, count] of wgsl.matchAll(/var<workgroup> \w+: array<(.+), (\d+)>;/g)) {
    bytes += bytesOf[type === "Rows" ? alias! : type!]! * Number(count);
  }
  const lanes = Number(/@workgroup_size\((\d+)\)/.exec(wgsl)![1]);
  assert(bytes > 0 && bytes <= MOST_BYTES, `${name} takes ${bytes} bytes`);
  assert(lanes <= MOST_LANES, `${name} has ${lanes} lanes`);
}
