/**
 * The private members of tfjs's objects that this project works with, all named here: an update of
 * tfjs (now 4.22.0) is checked against this file. Some are declared in tfjs's sources and only
 * missing in its published types.
 */
import { type TensorInfo, tf } from "../tfjs.ts";

/** Data of a tensor on the webgpu backend. */
export interface TensorData {
  /** The copy on the host, if there is one; wrong once the device has written the buffer. */
  values: ArrayLike<number> | null;
  resource?: GPUBuffer | null;
  dtype: tf.DataType;
  shape: number[];
  refCount: number;
  /** The buffer is not tfjs's to release. */
  external?: boolean;
}

/** The webgpu backend. */
export interface WebgpuInternals {
  device: GPUDevice;
  queue: GPUQueue;
  bufferManager: {
    acquireBuffer(size: number, usage: number): GPUBuffer;
    freeBuffers: Map<string, GPUBuffer[]>;
    numFreeBuffers: number;
    numBytesAllocated: number;
  };
  tensorMap: {
    has(dataId: object): boolean;
    get(dataId: object): TensorData;
  };
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  /** Data that must not be freed before the next submission. */
  commandQueueOwnedIds: { add(dataId: object): void };
  dispatchCountInPass: number;
  /** Set inside `tf.time()` and `tf.profile()`. */
  activeTimers?: { name: string; query: Promise<number> }[] | null;
  querySet: GPUQuerySet | null;
  querySetCount: number;
  getQueryTime(): Promise<number>;
  write(values: unknown, shape: number[], dtype: tf.DataType): object;
  createTensorFromGPUData(...rest: unknown[]): tf.Tensor;
  uploadToGPU(dataId: object): void;
  disposeData(dataId: object, force?: boolean): boolean;
  incRef(dataId: object): void;
  read(dataId: object): Promise<unknown>;
  readSync(dataId: object): unknown;
  /** Encodes an operation of tfjs's own; the inputs are bound after its output. */
  runWebGPUProgram(program: unknown, inputs: TensorInfo[], ...rest: unknown[]): TensorInfo;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** The wasm backend. */
export interface WasmInternals {
  typedArrayFromHeap(info: TensorInfo): Float32Array | Int32Array;
  makeOutput(shape: number[], dtype: tf.DataType): TensorInfo;
  dataIdMap: { get(dataId: object): { id: number; memoryOffset: number } };
  wasm: {
    /** Exports of its WebAssembly. */
    asm: { memory: WebAssembly.Memory };
    tfjs: {
      disposeData(id: number): void;
      registerTensor(id: number, size: number, offset: number): void;
    };
  };
}

/** The cpu backend. */
export interface CpuInternals {
  data: { get(dataId: object): { values: Float32Array | Int32Array } };
  makeTensorInfo(
    shape: number[],
    dtype: tf.DataType,
    values: Float32Array | Int32Array,
  ): TensorInfo;
}

/** The engine: the tape, and who owns which data. */
export interface EngineInternals {
  isTapeOn(): boolean;
  runKernel(name: string, ...rest: unknown[]): unknown;
  runKernelFunc(invocation: {
    inputs: Record<string, tf.Tensor>;
    attrs: object;
    forwardFunc: (backend: unknown, save: (tensors: tf.Tensor[]) => void) => unknown;
    backwardsFunc: (dy: unknown, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
  }): unknown;
  makeTensorFromDataId(
    dataId: object,
    shape: number[],
    dtype: tf.DataType,
    backend: unknown,
  ): tf.Tensor;
  removeDataId(dataId: object, backend: unknown): void;
  registeredVariables: Record<string, tf.Variable>;
}

/** Members that every backend has. */
interface BackendInternals {
  refCount(dataId: object): number;
  incRef(dataId: object): void;
}

/** The current backend, which must be webgpu or a backend of its class. */
export const webgpuInternals = (): WebgpuInternals => tf.backend() as unknown as WebgpuInternals;

/** The engine of tfjs. */
export const engine = (): EngineInternals => tf.engine() as unknown as EngineInternals;

const anyBackend = (): BackendInternals => tf.backend() as unknown as BackendInternals;

/** The current backend, which must be wasm or cpu. */
export function hostInternals(): { wasm: WasmInternals } | { cpu: CpuInternals } {
  const backend: unknown = tf.backend();
  return "typedArrayFromHeap" in (backend as object)
    ? { wasm: backend as WasmInternals }
    : { cpu: backend as CpuInternals };
}

/** True when another tensor has the same data, so that an update in place would change it too. */
export function isShared(tensor: TensorInfo): boolean {
  return anyBackend().refCount(tensor.dataId) > 1;
}

/** The same data under a new tensor. */
export function shareData({ dataId, shape, dtype }: TensorInfo): TensorInfo {
  anyBackend().incRef(dataId);
  return { dataId, shape, dtype };
}

/**
 * True inside `tf.time()` and `tf.profile()` on webgpu, where every kernel gets a pass of its own.
 */
export function isTimed({ activeTimers }: WebgpuInternals): boolean {
  return activeTimers !== null && activeTimers !== undefined;
}

/** Submits what tfjs has encoded so far. */
export function flushBackend(backend: WebgpuInternals = webgpuInternals()): void {
  if (!backend.commandEncoder) return;
  backend.endComputePassEncoder();
  backend.submitQueue();
}

/** Gives back the buffers that tfjs keeps for reuse; it never does so itself. */
export function emptyPool(backend: WebgpuInternals = webgpuInternals()): void {
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
