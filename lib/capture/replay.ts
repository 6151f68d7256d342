/** A recording made ready to be submitted again and again. */
import { tf } from "../tfjs.ts";
import { flushBackend, type WebgpuInternals } from "../backend/tfjs_internals.ts";
import { CaptureError, type External } from "./intercept.ts";
import {
  type Command,
  isVirtual,
  Memory,
  planMemory,
  plannedBytes,
  type VirtualBuffer,
} from "./plan.ts";
import { type InputSpec, type Recording, tensorsIn } from "./record.ts";

/** Size of a capture. */
export interface CaptureStats {
  /** Compute dispatches of a replay. */
  dispatches: number;
  /** Copies from buffer to buffer, such as those that stand for `variable.assign`. */
  copies: number;
  /** Compute passes of a replay. */
  passes: number;
  /** Buffers that belong to the capture, without those it shares with another. */
  buffers: number;
  /** Their bytes. */
  plannedBytes: number;
  /** Bytes that they would have if no two intermediate results shared memory. */
  totalBytes: number;
  /** Bytes that all buffers of the capture would have if those of f16 held float32. */
  f32Bytes: number;
}

/**
 * A recorded computation. Owns buffers on the device and its outputs; call `dispose`.
 *
 * @example
 * ```ts
 * import { Capture, capture, selectBackend, tf } from "../../mod.ts";
 *
 * if ((await selectBackend("auto")).name === "webgpu") {
 *   const x = tf.zeros([2]);
 *   const doubled: Capture<tf.Tensor> = await capture({ inputs: { x }, fn: ({ x }) => x.mul(2) });
 *   doubled.write("x", new Float32Array([3, 4])).replay();
 *   console.log(await doubled.outputs.data(), doubled.stats.dispatches); // 6, 8 and 1
 *   doubled.dispose();
 * }
 * ```
 */
export class Capture<O> {
  /** Results of the function; each replay overwrites the values. */
  readonly outputs: O;
  /** Dispatches and bytes. */
  readonly stats: CaptureStats;
  private readonly memory: Memory;
  private readonly steps: Step[];
  private readonly inputs: Map<string, { spec: InputSpec; offset: number; size: number }>;
  private readonly staging: Uint8Array<ArrayBuffer>;
  private dirty: { from: number; to: number } | null = null;
  private readonly externals: External[];
  private readonly variables: Recording<O>["variables"];
  private isDisposed = false;

  /**
   * Use {@linkcode capture}.
   * @internal
   */
  constructor(
    private readonly backend: WebgpuInternals,
    inputs: Record<string, InputSpec>,
    recording: Recording<O>,
    private readonly lender?: Capture<unknown>,
  ) {
    const { device } = backend;
    const { buffers, commands } = recording;
    const { minStorageBufferOffsetAlignment, minUniformBufferOffsetAlignment } = device.limits;
    const alignment = Math.max(minStorageBufferOffsetAlignment, minUniformBufferOffsetAlignment);
    const plan = planMemory(buffers, commands, alignment);
    this.outputs = recording.outputs;
    this.externals = recording.externals;
    this.variables = recording.variables;
    this.memory = new Memory(device, plan, buffers, lender?.memory);
    this.staging = new Uint8Array(plan.inputBytes);
    this.inputs = new Map(
      Object.entries(inputs).map(([name, spec], index) => {
        const size = tf.util.sizeFromShape(spec.shape);
        return [name, { spec, offset: plan.inputOffsets[index]!, size }];
      }),
    );
    this.steps = stepsOf(device, commands, this.memory);
    for (const tensor of tensorsIn(recording.outputs)) {
      const data = this.backend.tensorMap.get(tensor.dataId);
      if (data.resource && isVirtual(data.resource)) {
        data.resource = this.memory.placeOf(data.resource).buffer;
      }
    }
    const dispatches = commands.filter(({ kind }) => kind === "dispatch").length;
    const own = plan.own.reduce((sum, size) => sum + size, 0);
    this.stats = {
      dispatches,
      copies: this.steps.length - dispatches,
      passes:
        this.steps.filter((step, i) => "group" in step && !("group" in (this.steps[i - 1] ?? {})))
          .length,
      buffers: this.memory.count,
      plannedBytes: this.memory.bytes,
      totalBytes: plan.inputBytes + plan.constantBytes + own + plan.unsharedBytes,
      f32Bytes: plannedBytes(
        buffers.some(({ f32Size }) => f32Size !== undefined)
          ? planMemory(buffers.map(asF32), commands, alignment)
          : plan,
      ),
    };
  }

  /**
   * Sets an input for the following replays. The values are copied at once.
   *
   * @param values as many as the input has elements, in an array of any type: tfjs itself hands out
   * an Int32Array for some float32 tensors, and bytes for bool
   * @throws {CaptureError} when there is no such input, or a number has no equal in the input's type
   */
  write(name: string, values: NumberArray): this {
    this.assertAlive();
    const input = this.inputs.get(name);
    if (!input) {
      const names = [...this.inputs.keys()].join(", ") || "none";
      throw new CaptureError(`There is no input "${name}"; the capture has ${names}.`);
    }
    const { spec: { shape, dtype }, offset, size } = input;
    if (values.length !== size) {
      throw new CaptureError(
        `Input "${name}" is ${dtype} [${shape}], ${size} numbers, and got ${values.length}; ` +
          `capture again for another shape.`,
      );
    }
    const words = wordsOf(dtype, values);
    const misfit = words === values ? -1 : words.findIndex((word, i) => word !== values[i]);
    if (misfit >= 0) {
      throw new CaptureError(
        `Input "${name}" is ${dtype} and got ${values[misfit]} in a ${values.constructor.name}, ` +
          `which is no ${dtype} number.`,
      );
    }
    this.staging.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), offset);
    const { from, to } = this.dirty ?? { from: offset, to: offset };
    this.dirty = { from: Math.min(from, offset), to: Math.max(to, offset + 4 * size) };
    return this;
  }

  /**
   * Does the computation once more: one submission, which the device may still be working on when
   * this returns.
   *
   * @throws {CaptureError} when the capture was disposed, or {@linkcode staleness} has a reason
   */
  replay(): void {
    this.assertAlive();
    const { backend, memory } = this;
    const { device } = backend;
    // What tfjs was asked before comes first on the device, too.
    flushBackend(backend);
    const reason = this.staleness();
    if (reason !== null) throw new CaptureError(reason);
    if (this.dirty) {
      const { from, to } = this.dirty;
      device.queue.writeBuffer(memory.inputs!, from, this.staging, from, to - from);
      this.dirty = null;
    }
    device.queue.submit([encode(device, this.steps)]);
    // Reads leave copies on the host.
    for (const { dataId, isWritten } of this.externals) {
      if (isWritten) backend.tensorMap.get(dataId).values = null;
    }
    for (const { dataId } of tensorsIn(this.outputs)) {
      if (backend.tensorMap.has(dataId)) backend.tensorMap.get(dataId).values = null;
    }
  }

  /**
   * Why a replay would no longer do what the function does, in a sentence; null when it would. It
   * works on the buffers that tensors and variables had when it was captured.
   */
  staleness(): string | null {
    const { tensorMap } = this.backend;
    for (const { dataId, buffer, op, shape, isWritten } of this.externals) {
      const data = tensorMap.has(dataId) ? tensorMap.get(dataId) : undefined;
      if (data?.resource !== buffer) {
        return `A tensor [${shape}] that ${op} uses was disposed or given new data since the ` +
          `capture; capture again.`;
      }
      if (isWritten && data.refCount > 1) {
        return `A tensor [${shape}] that ${op} uses and a replay writes shares its data with ` +
          `another tensor, which a replay would change; dispose of the other one, or copy it.`;
      }
    }
    for (const { variable, dataId } of this.variables) {
      if (variable.dataId !== dataId) {
        return `Variable ${variable.name} was assigned new data since the capture; capture again.`;
      }
    }
    return null;
  }

  /** Frees the buffers and the outputs. */
  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    flushBackend(this.backend);
    tf.dispose(madeTensors(this.outputs));
    this.memory.destroy();
  }

  /**
   * Asserts that there is something to replay.
   * @throws {CaptureError} when this or the capture whose memory it uses was disposed
   */
  private assertAlive(): void {
    if (this.isDisposed || this.lender?.isDisposed) {
      throw new CaptureError("The capture was disposed and cannot be used; capture again.");
    }
  }
}

/** A buffer of the size that float32 values would give it. */
function asF32(buffer: VirtualBuffer): VirtualBuffer {
  const { f32Size } = buffer;
  if (f32Size === undefined) return buffer;
  return Object.create(buffer, { size: { value: f32Size } }) as VirtualBuffer;
}

/** Numbers as tfjs hands them out and takes them. */
export type NumberArray = Float32Array | Int32Array | Uint8Array;

/** Numbers as a tensor of `dtype` has them on the device: float32, or int32 for bool as well. */
function wordsOf(dtype: tf.DataType, values: NumberArray): Float32Array | Int32Array {
  const wanted = dtype === "float32" ? Float32Array : Int32Array;
  return values instanceof wanted ? values : wanted.from(values);
}

/** The tensors of an output but for variables, which live on. */
export function madeTensors(outputs: unknown): tf.Tensor[] {
  return tensorsIn(outputs).filter((tensor) => !("assign" in tensor));
}

/** A command of a replay. */
type Step =
  | { pipeline: GPUComputePipeline; group: GPUBindGroup; x: number; y: number; z: number }
  | {
    source: GPUBuffer;
    sourceOffset: number;
    target: GPUBuffer;
    targetOffset: number;
    size: number;
  };

/** The commands of a recording, with real buffers and bind groups. */
function stepsOf(device: GPUDevice, commands: readonly Command[], memory: Memory): Step[] {
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
function encode(device: GPUDevice, steps: readonly Step[]): GPUCommandBuffer {
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
