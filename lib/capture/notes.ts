/**
 * What a recording consists of, and the private members of tfjs that capturing needs.
 */
import { type TensorInfo, tf } from "../tfjs.ts";

/** A computation that cannot be replayed rightly; the message names the operation and the way out. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
}

/** A buffer of the record, before it has memory. To tfjs it looks like any other. */
export interface VirtualBuffer extends GPUBuffer {
  /** Position in {@linkcode Recording.buffers}. */
  readonly index: number;
  /** Index of the input whose values it holds. */
  input?: number;
  /** Bytes that come from JavaScript and are the same at every replay. */
  content?: Uint8Array;
  /** Belongs to a tensor that outlives the function. */
  survives: boolean;
  /** The operation that asked for it. */
  readonly op: string;
}

/** A binding of a dispatch: a {@linkcode VirtualBuffer} or a buffer from before. */
export interface Binding {
  binding: number;
  buffer: GPUBuffer;
  offset?: number;
  size?: number;
}

/** One note. */
export type Command =
  | {
    kind: "dispatch";
    op: string;
    pipeline: GPUComputePipeline;
    layout: GPUBindGroupLayout;
    bindings: Binding[];
    workgroups: [number, number, number];
  }
  | {
    kind: "copy";
    op: string;
    source: GPUBuffer;
    sourceOffset: number;
    target: GPUBuffer;
    targetOffset: number;
    size: number;
  };

/** A tensor from before the recording that the record reads or writes. */
export interface External {
  readonly dataId: object;
  readonly buffer: GPUBuffer;
  /** The operation that used it first, for messages. */
  readonly op: string;
  readonly shape: number[];
  isWritten: boolean;
}

/** What one call of the function did. */
export interface Recording<T> {
  outputs: T;
  commands: Command[];
  buffers: VirtualBuffer[];
  externals: External[];
  /** Variables whose data the record reads or writes. */
  variables: { variable: tf.Variable; dataId: object }[];
}

/** What tfjs keeps of a tensor's data. */
export interface TensorData {
  values: ArrayLike<number> | null;
  resource?: GPUBuffer | null;
  dtype: tf.DataType;
  shape: number[];
  refCount: number;
  /** The buffer is not tfjs's to release. */
  external?: boolean;
  complexTensorInfos?: unknown;
}

/** The private members of tfjs's backend that capturing needs; the one place that names them. */
export interface CapturableBackend {
  device: GPUDevice;
  queue: GPUQueue;
  bufferManager: {
    acquireBuffer(size: number, usage: number): GPUBuffer;
    releaseBuffer(buffer: GPUBuffer, reuse?: boolean): void;
    freeBuffers: Map<string, GPUBuffer[]>;
    numFreeBuffers: number;
    numBytesAllocated: number;
  };
  tensorMap: {
    has(dataId: object): boolean;
    get(dataId: object): TensorData;
    delete(dataId: object): void;
  };
  commandEncoder: GPUCommandEncoder | null;
  activeTimers?: unknown;
  write(values: unknown, shape: number[], dtype: tf.DataType): object;
  createTensorFromGPUData(...rest: unknown[]): tf.Tensor;
  uploadToGPU(dataId: object): void;
  disposeData(dataId: object, force?: boolean): boolean;
  incRef(dataId: object): void;
  readSync(dataId: object): unknown;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** The private members of tfjs's engine that capturing needs. */
export interface CapturableEngine {
  runKernel(name: string, ...rest: unknown[]): unknown;
  makeTensorFromDataId(
    dataId: object,
    shape: number[],
    dtype: tf.DataType,
    backend: unknown,
  ): tf.Tensor;
  removeDataId(dataId: object, backend: unknown): void;
  registeredVariables: Record<string, tf.Variable>;
}

/** tfjs's engine. */
export const engine = () => tf.engine() as unknown as CapturableEngine;

/** Submits what tfjs has recorded so far. */
export function flushBackend(backend: CapturableBackend): void {
  if (!backend.commandEncoder) return;
  backend.endComputePassEncoder();
  backend.submitQueue();
}

/** Gives back the buffers that tfjs keeps for reuse; it never does so itself. */
export function emptyPool(backend: CapturableBackend): void {
  flushBackend(backend);
  const { bufferManager } = backend;
  for (const free of bufferManager.freeBuffers.values()) {
    for (const buffer of free.splice(0)) {
      bufferManager.numFreeBuffers--;
      bufferManager.numBytesAllocated -= buffer.size;
      buffer.destroy();
    }
  }
}

/** Shape and type of an input. */
export type InputSpec = Pick<TensorInfo, "shape" | "dtype">;

/** Whether a buffer is one of a record that has no memory yet. */
export function isVirtual(buffer: GPUBuffer): buffer is VirtualBuffer {
  return Object.hasOwn(buffer, "index");
}

/** The tensors in what a function returned. */
export function tensorsIn(container: unknown): tf.Tensor[] {
  if (container instanceof tf.Tensor) return [container];
  if (typeof container !== "object" || container === null) return [];
  return Object.values(container).flatMap(tensorsIn);
}
