/** What a training step needs, in a line for people. */
import { bufferLimit } from "../backend/device.ts";
import type { CaptureStats } from "../capture/replay.ts";
import type { RunConfig } from "../config/run.ts";
import { tf } from "../tfjs.ts";
import { hostLimit, largestTensor } from "./memory.ts";
import type { StepMemory } from "./step_memory.ts";

/**
 * A sentence such as `A step of 64 images needs 830 MB: weights 36.3 MB, gradients 36.3 MB, moments
 * 72.6 MB, activations 721 MB.` A step in another precision needs less, which is known once it is
 * captured.
 */
export function memoryText({ batch, total, ...parts }: StepMemory, precision = "f32"): string {
  const { weights, gradients, moments, activations } = parts;
  return `A step of ${batch === 1 ? "1 image" : `${batch} images`} needs ${bytes(total)}${
    precision === "f32" ? "" : " in f32"
  }: weights ` +
    `${bytes(weights)}, gradients ${bytes(gradients)}, moments ${bytes(moments)}, activations ` +
    `${bytes(activations)}.`;
}

/** What a captured step takes where some of its tensors are f16. */
export function capturedMemoryText(
  { plannedBytes, f32Bytes }: Pick<CaptureStats, "plannedBytes" | "f32Bytes">,
): string {
  const [taken, saved] = [plannedBytes, f32Bytes - plannedBytes]
    .map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
  return `A step takes ${taken} on the device beside weights and moments, ${saved} less than if its ` +
    `tensors were f32.`;
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
