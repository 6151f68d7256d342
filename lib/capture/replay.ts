/** A recording made ready to be submitted again and again. */
import type { Command } from "./notes.ts";
import type { Memory } from "./plan.ts";

/** A command of a replay. */
export type Step =
  | { pipeline: GPUComputePipeline; group: GPUBindGroup; x: number; y: number; z: number }
  | {
    source: GPUBuffer;
    sourceOffset: number;
    target: GPUBuffer;
    targetOffset: number;
    size: number;
  };

/** The commands of a recording, with real buffers and bind groups. */
export function stepsOf(device: GPUDevice, commands: readonly Command[], memory: Memory): Step[] {
  const steps: Step[] = memory.preloads().map(({ from, to }) => ({
    source: from.buffer,
    sourceOffset: from.offset,
    target: to.buffer,
    targetOffset: to.offset,
    size: to.size,
  }));
  for (const command of commands) {
    if (command.kind === "copy") {
      const source = memory.placeOf(command.source, command.sourceOffset, command.size);
      const target = memory.placeOf(command.target, command.targetOffset, command.size);
      steps.push({
        source: source.buffer,
        sourceOffset: source.offset,
        target: target.buffer,
        targetOffset: target.offset,
        size: command.size,
      });
    } else {
      const { op, pipeline, layout, bindings, workgroups: [x, y, z] } = command;
      const entries = bindings.map(({ binding, buffer, offset, size }) => ({
        binding,
        resource: memory.placeOf(buffer, offset, size),
      }));
      steps.push({
        pipeline,
        group: device.createBindGroup({ label: op, layout, entries }),
        x,
        y,
        z,
      });
    }
  }
  return steps;
}

/** One command buffer of all steps, in as few passes as the copies between them allow. */
export function encode(device: GPUDevice, steps: readonly Step[]): GPUCommandBuffer {
  const encoder = device.createCommandEncoder();
  let pass: GPUComputePassEncoder | null = null;
  let pipeline: GPUComputePipeline | null = null;
  for (const step of steps) {
    if ("group" in step) {
      if (!pass) {
        pass = encoder.beginComputePass();
        pipeline = null;
      }
      if (step.pipeline !== pipeline) pass.setPipeline(pipeline = step.pipeline);
      pass.setBindGroup(0, step.group);
      pass.dispatchWorkgroups(step.x, step.y, step.z);
    } else {
      pass?.end();
      pass = null;
      const { source, sourceOffset, target, targetOffset, size } = step;
      encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, size);
    }
  }
  pass?.end();
  return encoder.finish();
}
