/** A command encoder that only takes notes. */
import type { Binding, CaptureError, Command, External } from "./notes.ts";
import { writtenBindingsOf } from "../backend/compute.ts";

/** Where the notes go. */
export interface Notes {
  readonly commands: Command[];
  /** The operation at work. */
  readonly op: string;
  readonly externalBuffers: ReadonlyMap<GPUBuffer, External>;
  /** The error to throw about what cannot be replayed. */
  refuse(message: string): CaptureError;
}

/** What tfjs and our kernels use of a `GPUCommandEncoder`. */
export function noteEncoder(notes: Notes) {
  const refuse = (what: string) => () => {
    throw notes.refuse(`${notes.op} records ${what}, which capture does not know.`);
  };
  return {
    beginComputePass: () => notePass(notes),
    copyBufferToBuffer: (
      source: GPUBuffer,
      sourceOffset: number,
      target: GPUBuffer,
      targetOffset: number,
      size: number,
    ) => {
      const { commands, op } = notes;
      commands.push({ kind: "copy", op, source, sourceOffset, target, targetOffset, size });
    },
    copyBufferToTexture: refuse("a copy to a texture"),
    copyTextureToBuffer: refuse("a copy from a texture"),
    resolveQuerySet: refuse("a query"),
    finish: () => ({}),
  };
}

function notePass(notes: Notes) {
  let pipeline: GPUComputePipeline;
  let group: GPUBindGroupDescriptor;
  return {
    setPipeline: (value: GPUComputePipeline) => pipeline = value,
    setBindGroup: (index: number, value: GPUBindGroupDescriptor) => {
      if (index !== 0) throw notes.refuse(`${notes.op} uses bind group ${index}, not only 0.`);
      group = value;
    },
    dispatchWorkgroups: (x: number, y = 1, z = 1) => {
      const { commands, op, externalBuffers } = notes;
      const { layout, entries } = group;
      const bindings = [...entries].map(({ binding, resource }): Binding => {
        const { buffer, offset, size } = resource as GPUBufferBinding;
        if (!(buffer instanceof GPUBuffer)) {
          throw notes.refuse(`${op} binds a texture, and only buffers can be captured.`);
        }
        return { binding, buffer, offset, size };
      });
      const { from, to } = writtenBindingsOf(layout);
      for (const { buffer } of bindings.slice(from, to)) {
        const external = externalBuffers.get(buffer);
        if (external) external.isWritten = true;
      }
      commands.push({ kind: "dispatch", op, pipeline, layout, bindings, workgroups: [x, y, z] });
    },
    end: () => {},
  };
}
