/**
 * Runs a function through tfjs and writes down what would have reached the device, without reaching
 * it.
 *
 * For the time of one synchronous call some members of the tfjs backend and of its device are
 * replaced: command encoders and the queue only take notes, and every buffer that tfjs acquires is a
 * {@linkcode VirtualBuffer}, a size without memory. Tensors from before the call keep their real
 * buffers. Since a virtual buffer is never used twice, its lifetime is known from the notes alone,
 * and the memory plan (plan.ts) can be made with all of them in view.
 *
 * A variable that got new data by `assign` is given back its own at the end, and the notes get a copy
 * from the new buffer into the old one: so the next replay reads what this one wrote.
 */
import { type TensorInfo, tf } from "../tfjs.ts";
import { halfOf } from "../backend/half.ts";
import {
  engine,
  flushBackend,
  isTimed,
  type TensorData,
  type WebgpuInternals,
} from "../backend/tfjs_internals.ts";
import {
  callOnce,
  CaptureError,
  type External,
  Hooks,
  interceptDevice,
  type Notes,
} from "./intercept.ts";
import { type Command, isVirtual, type VirtualBuffer } from "./plan.ts";

/** Shape and type of an input. */
export type InputSpec = Pick<TensorInfo, "shape" | "dtype">;

/** Account of what one call of the function did. */
export interface Recording<T> {
  outputs: T;
  commands: Command[];
  buffers: VirtualBuffer[];
  externals: External[];
  /** Variables whose data it reads or writes. */
  variables: { variable: tf.Variable; dataId: object }[];
}

/** The tensors in what a function returned. */
export function tensorsIn(container: unknown): tf.Tensor[] {
  if (container instanceof tf.Tensor) return [container];
  if (typeof container !== "object" || container === null) return [];
  return Object.values(container).flatMap(tensorsIn);
}

/**
 * Calls `fn` once and notes what it does.
 *
 * @throws {CaptureError} when it does what cannot be replayed
 */
export function record<T>(
  backend: WebgpuInternals,
  inputs: Record<string, InputSpec>,
  fn: (inputs: Record<string, tf.Tensor>) => T,
): Recording<T> {
  return new Recorder(backend).run(inputs, fn);
}

class Recorder implements Notes {
  readonly commands: Command[] = [];
  private readonly buffers: VirtualBuffer[] = [];
  private readonly externals = new Map<object, External>();
  readonly externalBuffers = new Map<GPUBuffer, External>();
  /** Data made during the call. */
  readonly made = new Map<object, string>();
  /** Data from before, which the call gave up and which must outlive it. */
  private readonly parked = new Set<object>();
  private readonly hooks = new Hooks();
  private refusal: CaptureError | undefined;

  /** Replaced while recording; uploads of tensors from before need it. */
  private readonly manager: WebgpuInternals["bufferManager"];

  constructor(private readonly backend: WebgpuInternals) {
    this.manager = backend.bufferManager;
  }

  run<T>(
    specs: Record<string, InputSpec>,
    fn: (inputs: Record<string, tf.Tensor>) => T,
  ): Recording<T> {
    const { backend } = this;
    if (isTimed(backend)) {
      throw new CaptureError("A function cannot be captured inside tf.time() or tf.profile().");
    }
    flushBackend(backend);
    const variables = Object.values(engine().registeredVariables).map((variable) => {
      return { variable, dataId: variable.dataId };
    });
    const inputs: Record<string, tf.Tensor> = {};
    let outputs: T | undefined;
    let failure: unknown;
    interceptDevice(this.hooks, backend, this);
    try {
      this.makeInputs(specs, inputs);
      outputs = callOnce(fn, { ...inputs });
    } catch (error) {
      failure = error;
    }
    // Also after a failure: what tfjs holds must be real again.
    try {
      this.restoreVariables(variables);
      const returned = new Set(tensorsIn(outputs));
      for (const tensor of Object.values(inputs)) if (!returned.has(tensor)) tensor.dispose();
      flushBackend(backend);
      this.settleParked();
      this.settleSurvivors(returned);
      failure = this.refusal ?? failure;
      if (failure) tf.dispose([...returned]);
    } finally {
      this.hooks.remove();
    }
    if (failure) throw failure;
    return {
      outputs: outputs as T,
      commands: this.commands,
      buffers: this.buffers,
      externals: [...this.externals.values()],
      variables: variables.filter(({ dataId }) => this.externals.has(dataId)),
    };
  }

  get op(): string {
    return this.hooks.op;
  }

  refuse(message: string): CaptureError {
    this.refusal ??= new CaptureError(message);
    return this.refusal;
  }

  newBuffer(size: number): GPUBuffer {
    // tfjs tells buffers from textures by their class.
    const buffer = Object.create(GPUBuffer.prototype, {
      size: { value: size },
      usage: { value: 0 },
      mapState: { value: "unmapped" },
      index: { value: this.buffers.length },
      op: { value: this.op },
      survives: { value: false, writable: true },
      content: { value: undefined, writable: true },
      input: { value: undefined, writable: true },
      f32Size: { value: undefined, writable: true },
    }) as VirtualBuffer;
    this.buffers.push(buffer);
    return buffer;
  }

  writeUniforms(buffer: GPUBuffer, data: ArrayBuffer): void {
    if (!isVirtual(buffer)) throw this.refuse(`${this.op} writes to a buffer through the queue.`);
    buffer.content = new Uint8Array(data.slice(0));
  }

  upload(dataId: object): void {
    const { tensorMap } = this.backend;
    const data = tensorMap.get(dataId);
    if (!data.resource) {
      const bytes = 4 * tf.util.sizeFromShape(data.shape);
      if (this.made.has(dataId)) {
        const buffer = this.newBuffer(bytes) as VirtualBuffer;
        if (data.values) buffer.content = bytesOf(data);
        const half = halfOf({ dataId });
        if (half) buffer.f32Size = 4 * half.size;
        data.resource = buffer;
      } else {
        data.resource = this.realBuffer(data, bytes);
      }
      data.values = null;
    }
    if (!this.made.has(dataId) && !this.externals.has(dataId)) {
      const { resource: buffer, shape } = data;
      const external = { dataId, buffer, op: this.op, shape, isWritten: false };
      this.externals.set(dataId, external);
      this.externalBuffers.set(buffer, external);
    }
  }

  /** A tensor from before that was only on the host until now. */
  private realBuffer(data: TensorData, bytes: number): GPUBuffer {
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const buffer = this.manager.acquireBuffer(bytes, STORAGE | COPY_SRC | COPY_DST);
    if (data.values) this.backend.device.queue.writeBuffer(buffer, 0, bytesOf(data));
    return buffer;
  }

  park(dataId: object): boolean {
    const { tensorMap } = this.backend;
    if (!tensorMap.has(dataId)) return true;
    const data = tensorMap.get(dataId);
    if (--data.refCount <= 0) this.parked.add(dataId);
    return false;
  }

  private makeInputs(
    specs: Record<string, InputSpec>,
    inputs: Record<string, tf.Tensor>,
  ): void {
    Object.entries(specs).forEach(([name, { shape, dtype }], index) => {
      const dataId = this.backend.write(null, shape, dtype);
      const buffer = this.newBuffer(4 * tf.util.sizeFromShape(shape)) as VirtualBuffer;
      buffer.input = index;
      this.backend.tensorMap.get(dataId).resource = buffer;
      inputs[name] = engine().makeTensorFromDataId(dataId, shape, dtype, this.backend);
    });
  }

  /** Gives variables their data back, and notes the copies that make a replay do as much. */
  private restoreVariables(variables: { variable: tf.Variable; dataId: object }[]): void {
    const { backend } = this;
    const changed = variables.filter(({ variable, dataId }) => variable.dataId !== dataId);
    // All reads come before all writes: a variable may have got what another one had.
    const moves = changed.map(({ variable, dataId }) => {
      if (variable.isDisposed) {
        this.refuse(`The function disposes variable ${variable.name}, which it did not make.`);
        return null;
      }
      this.upload(variable.dataId);
      this.upload(dataId);
      const data = backend.tensorMap.get(dataId);
      // Another variable that gets its own back as well is no matter.
      const others = changed.filter((other) => other.variable.dataId === dataId);
      if (data.refCount > others.length) {
        this.refuse(
          `Variable ${variable.name} is assigned new data but shares its own with another tensor, ` +
            `which a replay would change; give the variable a copy of its own first.`,
        );
      }
      let source = backend.tensorMap.get(variable.dataId).resource!;
      if (!isVirtual(source)) {
        const staged = this.newBuffer(source.size);
        this.noteCopy(source, staged);
        source = staged;
      }
      return { variable, dataId, data, source };
    });
    for (const move of moves) {
      if (!move) continue;
      const { variable, dataId, data, source } = move;
      this.noteCopy(source, data.resource!);
      this.externals.get(dataId)!.isWritten = true;
      this.parked.delete(dataId);
      backend.incRef(dataId);
      const { shape, dtype } = variable;
      const own = engine().makeTensorFromDataId(dataId, shape, dtype, backend);
      variable.assign(own);
      own.dispose();
    }
  }

  private noteCopy(source: GPUBuffer, target: GPUBuffer): void {
    const { size } = source;
    this.commands.push({
      kind: "copy",
      op: "Variable.assign",
      source,
      sourceOffset: 0,
      target,
      targetOffset: 0,
      size,
    });
  }

  /** Lets go of data from before that the function gave up, unless it is used. */
  private settleParked(): void {
    const { backend } = this;
    for (const dataId of this.parked) {
      const data = backend.tensorMap.get(dataId);
      if (data.refCount > 0) continue;
      const used = this.externals.get(dataId);
      if (used) {
        this.refuse(
          `The function disposes a tensor [${used.shape}] that it did not make and that ` +
            `${used.op} uses; keep it while the capture lives.`,
        );
      }
      this.hooks.atEnd(() => {
        data.refCount = 1;
        if (backend.disposeData(dataId)) engine().removeDataId(dataId, backend);
      });
    }
  }

  private settleSurvivors(outputs: Iterable<tf.Tensor>): void {
    const { tensorMap } = this.backend;
    const returned = new Set<object>();
    for (const tensor of outputs) {
      if (tensor.dtype === "complex64" || tensor.dtype === "string") {
        this.refuse(`An output is ${tensor.dtype}; return tensors of numbers.`);
        continue;
      }
      this.upload(tensor.dataId);
      returned.add(tensor.dataId);
    }
    for (const [dataId, op] of this.made) {
      if (!tensorMap.has(dataId)) continue;
      const data = tensorMap.get(dataId);
      // The buffer is the capture's, so that tfjs must not put it into its pool.
      data.external = true;
      if (data.resource && isVirtual(data.resource)) data.resource.survives = true;
      if (!returned.has(dataId)) {
        this.refuse(
          `A tensor [${data.shape}] made by ${op} outlives the function without being returned ` +
            `(kept, or a new variable); make it before, for example by calling the function once.`,
        );
      }
    }
  }
}

function bytesOf({ dtype, values }: TensorData): Uint8Array<ArrayBuffer> {
  const words = dtype === "int32" || dtype === "bool"
    ? Int32Array.from(values!)
    : Float32Array.from(values!);
  return new Uint8Array(words.buffer);
}
