/**
 * What is put before members of tfjs's objects for a while: to take down what would reach the
 * device, to know the operation at work, and to refuse reads.
 */
import { tf } from "../tfjs.ts";
import { writtenBindingsOf } from "../backend/compute.ts";
import { engine, type WebgpuInternals } from "../backend/tfjs_internals.ts";
import type { Binding, Command } from "./plan.ts";

/**
 * A computation that cannot be replayed rightly; the message names the operation and the way out.
 *
 * @example
 * ```ts
 * import { capture, CaptureError, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * try {
 *   await capture(() => tf.ones([2]));
 * } catch (error) {
 *   console.log(error instanceof CaptureError); // true: the cpu backend cannot capture
 * }
 * ```
 */
export class CaptureError extends Error {
  /** Name of the class. */
  override readonly name = "CaptureError";
}

/** A tensor from before the recording that it reads or writes. */
export interface External {
  readonly dataId: object;
  readonly buffer: GPUBuffer;
  /** The operation that used it first, for messages. */
  readonly op: string;
  readonly shape: number[];
  isWritten: boolean;
}

/** Replacements that are undone together. */
export class Hooks {
  private readonly undo: (() => void)[] = [];
  private readonly ops: string[] = [];

  /** Puts members before those that `target` has. */
  replace(target: object, members: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(members)) {
      const own = Object.getOwnPropertyDescriptor(target, name);
      Object.defineProperty(target, name, { value, configurable: true, writable: true });
      this.undo.push(() => {
        if (own) Object.defineProperty(target, name, own);
        else Reflect.deleteProperty(target, name);
      });
    }
  }

  /**
   * Has something done when the hooks are removed, after the replacements made before are undone.
   */
  atEnd(action: () => void): void {
    this.undo.unshift(action);
  }

  /** Keeps track of the operation at work, for messages. */
  followOps(): void {
    const runKernel = engine().runKernel.bind(engine());
    this.replace(engine(), {
      runKernel: (name: string, ...rest: unknown[]) => {
        this.ops.push(name);
        try {
          return runKernel(name, ...rest);
        } finally {
          this.ops.pop();
        }
      },
    });
  }

  /** The operation at work. */
  get op(): string {
    return this.ops.at(-1) ?? "the function itself";
  }

  /** Undoes everything. */
  remove(): void {
    for (const undo of this.undo.splice(0).reverse()) undo();
  }
}

/** Reason why an operation cannot be captured. */
function readMessage(op: string): string {
  return `${op} reads a tensor on the host, which a replay cannot repeat; ` +
    `return the tensor and read it after replay().`;
}

/**
 * Calls `fn` and disposes what it makes but does not return.
 *
 * @throws {CaptureError} when it is asynchronous
 */
export function callOnce<I, O>(fn: (inputs: I) => O, inputs: I): O {
  return tf.tidy(() => {
    const outputs = fn(inputs);
    if (outputs instanceof Promise) {
      outputs.catch(() => {});
      throw new CaptureError(
        "The function is asynchronous; only what runs in one go can be captured.",
      );
    }
    // A function may return nothing, which tfjs's type forgets.
    return outputs as O & tf.TensorContainer;
  });
}

/**
 * {@linkcode callOnce} in earnest. Synchronous reads of the device are refused, since those of tfjs
 * fail with a message that says nothing.
 */
export function warmUp<I, O>(backend: WebgpuInternals, fn: (inputs: I) => O, inputs: I): O {
  const hooks = new Hooks();
  const readSync = backend.readSync.bind(backend);
  hooks.followOps();
  hooks.replace(backend, {
    readSync: (dataId: object) => {
      if (!backend.tensorMap.get(dataId).values) throw new CaptureError(readMessage(hooks.op));
      return readSync(dataId);
    },
  });
  try {
    return callOnce(fn, inputs);
  } finally {
    hooks.remove();
  }
}

/** Place where the notes of a recording go, and who answers tfjs meanwhile. */
export interface Notes {
  readonly commands: Command[];
  /** The operation at work. */
  readonly op: string;
  readonly externalBuffers: ReadonlyMap<GPUBuffer, External>;
  /** Data made since the recording began, by the operation that made it. */
  readonly made: Map<object, string>;
  newBuffer(size: number): GPUBuffer;
  /** Uniform contents: the only writes that tfjs sends to the queue. */
  writeUniforms(buffer: GPUBuffer, data: ArrayBuffer): void;
  upload(dataId: object): void;
  /** Keeps data from before that the function gives up. */
  park(dataId: object): boolean;
  /** The error to throw about what cannot be replayed. */
  refuse(message: string): CaptureError;
}

/** Has everything that tfjs asks of the device taken down, until `hooks` are removed. */
export function interceptDevice(hooks: Hooks, backend: WebgpuInternals, notes: Notes): void {
  const real = {
    write: backend.write.bind(backend),
    disposeData: backend.disposeData.bind(backend),
    createTensorFromGPUData: backend.createTensorFromGPUData.bind(backend),
  };
  const refuseRead = () => notes.refuse(readMessage(notes.op));
  hooks.replace(backend, {
    bufferManager: {
      acquireBuffer: (size: number) => notes.newBuffer(size),
      releaseBuffer: () => {},
      numBytesUsed: 0,
      numBytesAllocated: 0,
    },
    queue: {
      submit: () => {},
      writeBuffer: (buffer: GPUBuffer, _offset: number, data: ArrayBuffer) =>
        notes.writeUniforms(buffer, data),
    },
    write: (values: unknown, shape: number[], dtype: tf.DataType) => {
      const dataId = real.write(values, shape, dtype);
      notes.made.set(dataId, notes.op);
      return dataId;
    },
    createTensorFromGPUData: (...rest: unknown[]) => {
      const tensor = real.createTensorFromGPUData(...rest);
      notes.made.set(tensor.dataId, notes.op);
      return tensor;
    },
    uploadToGPU: (dataId: object) => notes.upload(dataId),
    disposeData: (dataId: object, force?: boolean) =>
      notes.made.has(dataId) ? real.disposeData(dataId, force) : notes.park(dataId),
    shouldExecuteOnCPU: () => false,
    // A rejection would go unnoticed where nobody awaits, so the promise stays pending.
    read: () => {
      refuseRead();
      return new Promise(() => {});
    },
    readSync: (dataId: object) => {
      const { values, resource } = backend.tensorMap.get(dataId);
      // Constants made by the function itself have not left the host yet.
      if (notes.made.has(dataId) && values && !resource) return values;
      throw refuseRead();
    },
    readToGPU: () => {
      throw refuseRead();
    },
  });
  hooks.replace(backend.device, {
    createBindGroup: (descriptor: GPUBindGroupDescriptor) => descriptor,
    createCommandEncoder: () => noteEncoder(notes),
  });
  hooks.followOps();
}

/** Part of a `GPUCommandEncoder` that tfjs and our kernels use. */
function noteEncoder(notes: Notes) {
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
