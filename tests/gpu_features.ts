/** What a test may need of a GPU beyond WebGPU itself; asked once, by the files that need it. */
import { requestGpu } from "../lib/backend/device.ts";
import { hasSubgroupsOf8 } from "../lib/kernels/matmul/tiles.ts";
import { ignoreWebgpu } from "./backends.ts";

// A device of its own: a test may wrap WebGPU's classes before the shared one is made.
const gpu = ignoreWebgpu ? null : await requestGpu();
const there = {
  "timestamp-query": gpu?.features.has("timestamp-query") ?? false,
  "shader-f16": gpu?.features.has("shader-f16") ?? false,
  "subgroups of 8": gpu !== null && hasSubgroupsOf8(gpu),
};
gpu?.device.destroy();

/** The feature where the GPU lacks it, for `lacks` of `forEachBackend`; else undefined. */
export function unlessThere(feature: keyof typeof there): string | undefined {
  return there[feature] ? undefined : feature;
}
