/**
 * Record once, replay: takes JavaScript out of a computation that is repeated with the same shapes.
 *
 * tfjs spends over 100 us of JavaScript on every dispatch: tape, tensors, shader keys, uniform
 * buffers, bind groups. {@linkcode capture} lets a function go through tfjs once, writes down what it
 * asks of the device (record.ts), gives the intermediate results memory of their own
 * (plan.ts), and from then on a replay is one command buffer, in which a dispatch costs about
 * a microsecond.
 *
 * The function is recorded twice, without reaching the device, and both recordings must be equal.
 * That is how values from JavaScript that change from call to call are found: random numbers, step
 * counters, learning rates. They must be inputs; what is equal is a constant of the record.
 */
import { tf, type WebGPUBackend } from "../tfjs.ts";
import { Memory, planMemory } from "./plan.ts";
import { assertEqual } from "./compare.ts";
import { warmUp } from "./intercept.ts";
import {
  type CapturableBackend,
  CaptureError,
  emptyPool,
  type External,
  flushBackend,
  type InputSpec,
  isVirtual,
  type Recording,
  tensorsIn,
} from "./notes.ts";
import { record } from "./record.ts";
import { encode, type Step, stepsOf } from "./replay.ts";

export { CaptureError };

/** What a captured function gets: its inputs by name. */
export type Inputs = Record<string, tf.Tensor>;

/** What to capture, and how. */
export interface CaptureRequest<I extends Inputs, O> {
  /** Tensors to make inputs of: shape and type, and values until {@linkcode Capture.write}. */
  inputs?: I;
  /**
   * The computation. It may read tensors and variables from outside, update them in place and assign
   * variables; what it returns must be tensors, alone or in arrays and objects, or nothing.
   */
  fn: (inputs: I) => O;
  /**
   * Calls `fn` once in earnest, so that what it makes at its first call is there: an optimizer's
   * moments, compiled shaders. Counts as one step of a training. Default true; false when it has been
   * called before.
   */
  warmup?: boolean;
  /**
   * Another record whose memory for intermediate results this one may use as well. It must live as
   * long as this one.
   */
  memoryOf?: Capture<unknown>;
}

/** What a record consists of. */
export interface CaptureStats {
  dispatches: number;
  /** Copies from buffer to buffer, such as those that stand for `variable.assign`. */
  copies: number;
  /** Compute passes of a replay. */
  passes: number;
  /** Buffers that belong to the record, without those it shares with another. */
  buffers: number;
  /** Their bytes. */
  plannedBytes: number;
  /** Bytes that they would have if no two intermediate results shared memory. */
  totalBytes: number;
}

/**
 * Captures a computation on tfjs's webgpu backend, ours or any other in which all shapes stay.
 *
 * @example
 * ```ts ignore
 * const step = await capture({ inputs: { x, y }, fn: ({ x, y }) => optimizer.minimize(() => loss(x, y), true) });
 * step.write("x", pixels).write("y", labels).replay();
 * console.log(await step.outputs.data());
 * ```
 *
 * @throws {CaptureError} when the function does what cannot be replayed, naming the operation: host
 * reads, values from JavaScript that are not the same at each call, tensors that outlive it.
 */
export async function capture<I extends Inputs, O>(
  request: CaptureRequest<I, O> | (() => O),
): Promise<Capture<O>> {
  const { inputs = {} as I, fn, warmup = true, memoryOf } = typeof request === "function"
    ? { fn: request as (inputs: I) => O, memoryOf: undefined }
    : request;
  if (tf.getBackend() !== "webgpu") {
    throw new CaptureError(
      `Only the webgpu backend can capture, and the current one is ${tf.getBackend()}; ` +
        `call the function as it is.`,
    );
  }
  const webgpu = tf.backend() as WebGPUBackend;
  const { device } = webgpu;
  // One after the other: two reads of one tensor at once break.
  const initial = new Map<string, Float32Array>();
  for (const [name, tensor] of Object.entries(inputs)) {
    initial.set(name, await tensor.data<"float32">());
  }
  const call = fn as (inputs: Inputs) => O;
  if (warmup) {
    const results = warmUp(webgpu as unknown as CapturableBackend, call, { ...inputs });
    // An input may be returned, and stays the caller's.
    const given = new Set(Object.values(inputs));
    tf.dispose(madeTensors(results).filter((tensor) => !given.has(tensor)));
  }
  const first = record(webgpu, inputs, call);
  tf.dispose(madeTensors(first.outputs));
  const second = record(webgpu, inputs, call);
  device.pushErrorScope("validation");
  let made: Capture<O> | undefined;
  try {
    assertEqual(first, second);
    made = new Capture(webgpu, inputs, second, memoryOf);
  } catch (error) {
    tf.dispose(madeTensors(second.outputs));
    throw error;
  } finally {
    const error = await device.popErrorScope();
    if (error) {
      made?.dispose();
      // deno-lint-ignore no-unsafe-finally
      throw new Error(`WebGPU refuses the record: ${error.message}`);
    }
  }
  for (const [name, values] of initial) made.write(name, values);
  // What the warm-up took would lie idle beside the record's own memory.
  emptyPool(webgpu as unknown as CapturableBackend);
  return made;
}

/** A recorded computation. Owns buffers on the device and its outputs; call `dispose`. */
export class Capture<O> {
  /** What the function returned; each replay overwrites the values. */
  readonly outputs: O;
  readonly stats: CaptureStats;
  private readonly backend: CapturableBackend;
  private readonly memory: Memory;
  private readonly steps: Step[];
  private readonly inputs: Map<string, { spec: InputSpec; offset: number; size: number }>;
  private readonly staging: Uint8Array<ArrayBuffer>;
  private dirty: { from: number; to: number } | null = null;
  private readonly externals: External[];
  private readonly variables: Recording<O>["variables"];
  private isDisposed = false;

  /** Use {@linkcode capture}. */
  constructor(
    webgpu: WebGPUBackend,
    inputs: Record<string, InputSpec>,
    recording: Recording<O>,
    private readonly lender?: Capture<unknown>,
  ) {
    const { device } = webgpu;
    const { buffers, commands } = recording;
    const { minStorageBufferOffsetAlignment, minUniformBufferOffsetAlignment } = device.limits;
    const alignment = Math.max(minStorageBufferOffsetAlignment, minUniformBufferOffsetAlignment);
    const plan = planMemory(buffers, commands, alignment);
    this.backend = webgpu as unknown as CapturableBackend;
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
    };
  }

  /**
   * Sets an input for the following replays. The values are copied at once.
   *
   * @param values as many as the input has elements, of its type
   * @throws {CaptureError} when there is no such input or the values do not fit
   */
  write(name: string, values: Float32Array | Int32Array | Uint8Array): this {
    this.assertAlive();
    const input = this.inputs.get(name);
    if (!input) {
      const names = [...this.inputs.keys()].join(", ") || "none";
      throw new CaptureError(`There is no input "${name}"; the record has ${names}.`);
    }
    const { spec: { shape, dtype }, offset, size } = input;
    const fits = dtype === "float32"
      ? values instanceof Float32Array
      : values instanceof Int32Array || (dtype === "bool" && values instanceof Uint8Array);
    if (!fits || values.length !== size) {
      throw new CaptureError(
        `Input "${name}" is ${dtype} [${shape}], ${size} numbers, and got a ` +
          `${values.constructor.name} of ${values.length}; capture again for another shape.`,
      );
    }
    if (values instanceof Float32Array) {
      new Float32Array(this.staging.buffer, offset, size).set(values);
    } else {
      new Int32Array(this.staging.buffer, offset, size).set(values);
    }
    const { from, to } = this.dirty ?? { from: offset, to: offset };
    this.dirty = { from: Math.min(from, offset), to: Math.max(to, offset + 4 * size) };
    return this;
  }

  /**
   * Does the computation once more: one submission, which the device may still be working on when
   * this returns.
   *
   * @throws {CaptureError} when the record was disposed, or {@linkcode staleness} has a reason
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

  private assertAlive(): void {
    if (this.isDisposed || this.lender?.isDisposed) {
      throw new CaptureError("The record was disposed and cannot be used; capture again.");
    }
  }
}

/** The tensors of an output but for variables, which live on. */
function madeTensors(outputs: unknown): tf.Tensor[] {
  return tensorsIn(outputs).filter((tensor) => !("assign" in tensor));
}
