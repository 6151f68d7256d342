/** What a training step needs, in lines for people. */
import { bufferLimit } from "../backend/device.ts";
import type { CaptureStats } from "../capture/replay.ts";
import type { RunConfig } from "../config/run.ts";
import { tf } from "../tfjs.ts";
import { hostLimit, largestTensor } from "./memory.ts";
import type { StepMemory } from "./step_memory.ts";

/**
 * Two lines that fit a terminal: `A step of 64 images needs 830 MB:`, and the parts of it. A step in
 * another precision needs less, which is known once it is captured.
 */
export function memoryText({ batch, total, ...parts }: StepMemory, precision = "f32"): string {
  const images = batch === 1 ? "1 image" : `${batch} images`;
  const all = precision === "f32" ? bytes(total) : `${bytes(total)} in f32`;
  const listed = Object.entries(parts).map(([name, count]) => ` - ${name} ${bytes(count)}`);
  return `A step of ${images} needs ${all}:\n ${listed.join("")}`;
}

/** What a captured step takes where some of its tensors are f16. */
export function capturedMemoryText(
  { plannedBytes, f32Bytes }: Pick<CaptureStats, "plannedBytes" | "f32Bytes">,
): string {
  const [taken, saved] = [plannedBytes, f32Bytes - plannedBytes]
    .map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
  return `A step's own tensors take ${taken}, ${saved} less than in f32 alone.`;
}

/**
 * The bound that a step has to keep on the current backend, as a sentence. WebGPU does not tell how much
 * memory a device has, only how much one tensor may have.
 */
export function budgetText(config: RunConfig, { batch }: Pick<StepMemory, "batch">): string {
  const backend = tf.getBackend();
  if (backend === "wasm") return `wasm can address ${bytes(hostLimit)}.`;
  const limit = Math.min(bufferLimit(), hostLimit);
  return `Its largest tensor has ${bytes(largestTensor(config, batch))}, of ${bytes(limit)} that ` +
    `one may have${backend === "webgpu" ? " on this device" : ""}.`;
}

function bytes(count: number): string {
  const mega = count / 1e6;
  if (mega >= 999.5) return `${(mega / 1000).toFixed(mega >= 99_950 ? 0 : 1)} GB`;
  return `${mega.toFixed(mega >= 99.95 ? 0 : 1)} MB`;
}
