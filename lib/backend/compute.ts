/**
 * Own WGSL kernels on the tfjs WebGPU backend: several outputs, outputs in place, no shader-key
 * strings, pipelines and uniform buffers cached, explicit layouts.
 *
 * A dispatch made here goes into the same command encoder as tfjs's own kernels, so order
 * is kept and no extra submit happens. Bindings are numbered: inputs, then outputs, then one
 * uniform block when there is one. Uniform contents must not change from step to step (they are
 * cached by content); what changes per step belongs in a tensor.
 */
import { type TensorInfo, tf, type WebGPUBackend } from "../tfjs.ts";
import { halfOf, makeHalf } from "./half.ts";
import { halfWgsl } from "./half_wgsl.ts";
import { halfFactorOf, type Role } from "./precision.ts";
import { isTimed, type WebgpuInternals, webgpuInternals } from "./tfjs_internals.ts";

/** A tensor that a dispatch makes. */
export interface NewOutput {
  shape: number[];
  dtype: "float32" | "int32";
  /**
   * What it is to the model, or a tensor that it is stored like: whether it is f16 where the
   * precision is. Without it, it is stored as `dtype`.
   */
  stored?: Role | TensorInfo;
}

/** One dispatch of one WGSL module. */
export interface Dispatch {
  /** Names the pipeline: equal keys must mean equal WGSL. Also the name shown by profilers. */
  key: string;
  /** The WGSL module with entry point `main`; called only when the pipeline is not cached. */
  wgsl: () => string;
  /** Read-only storage buffers, bound from 0 on. */
  inputs: TensorInfo[];
  /**
   * Read-write storage buffers, bound after the inputs. A shape and type makes a new tensor; an
   * existing tensor (with a `dataId`) is written in place.
   */
  outputs: (NewOutput | TensorInfo)[];
  /** The uniform block, as 32-bit words; its size is rounded up to 16 bytes. */
  uniforms?: Uint32Array;
  /** Workgroups in x, y, z. */
  workgroups: [number, number, number];
}

interface DeviceCache {
  pipelines: Map<string, { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout }>;
  layouts: Map<string, GPUBindGroupLayout>;
  uniforms: Map<string, GPUBuffer>;
}

const caches = new WeakMap<GPUDevice, DeviceCache>();
const writtenBindings = new WeakMap<GPUBindGroupLayout, { from: number; to: number }>();

/** Number of dispatches that this module has made, for benches and tests. */
export let dispatchCount = 0;

/** The current tfjs backend as a WebGPU backend. */
export function webgpuBackend(): WebGPUBackend {
  return tf.backend() as WebGPUBackend;
}

/** Bytes of uploads whose copies the driver may still hold, and the most of them. */
let heldBytes = 0;
const MOST_HELD = 4 * 2 ** 20;

/**
 * Puts a tensor's values on the device at once, where the backend is webgpu: tfjs does so at the first
 * use, and many weights would then lie in memory two and three times.
 */
export function uploadAtOnce(tensor: TensorInfo): void {
  if (tf.getBackend() !== "webgpu") return;
  webgpuBackend().uploadToGPU(tensor.dataId);
  heldBytes += 4 * tf.util.sizeFromShape(tensor.shape);
  if (heldBytes < MOST_HELD) return;
  heldBytes = 0;
  const internals = webgpuInternals();
  internals.ensureCommandEncoderReady();
  internals.endComputePassEncoder();
  internals.submitQueue();
}

/**
 * Bindings of a dispatch that are written to: `from` to below `to`. Pipelines that are not ours are
 * tfjs's, which binds its one output first.
 */
export function writtenBindingsOf(layout: GPUBindGroupLayout): { from: number; to: number } {
  return writtenBindings.get(layout) ?? { from: 0, to: 1 };
}

/** Packs numbers into uniform words: `u` unsigned, `i` signed, `f` float. */
export function uniformWords(fields: ["u" | "i" | "f", number][]): Uint32Array {
  const words = new Uint32Array(Math.ceil(fields.length / 4) * 4);
  const view = new DataView(words.buffer);
  fields.forEach(([kind, value], index) => {
    if (kind === "f") view.setFloat32(index * 4, value, true);
    else if (kind === "i") view.setInt32(index * 4, value, true);
    else view.setUint32(index * 4, value, true);
  });
  return words;
}

/** Whole numbers from 0 as fields of {@linkcode uniformWords}. */
export function unsigned(...numbers: number[]): ["u", number][] {
  return numbers.map((n) => ["u", n]);
}

/** Encodes one dispatch and returns its outputs. */
export function dispatch(given: Dispatch): TensorInfo[] {
  const backend = webgpuBackend();
  const internals = webgpuInternals();
  const outputs = given.outputs.map((output) =>
    "dataId" in output ? output : newOutput(output, backend, internals)
  );
  const tensors = [...given.inputs, ...outputs];
  const request = withHalves(given, tensors);
  for (const tensor of tensors) backend.uploadToGPU(tensor.dataId);
  // A cached host copy of a tensor written in place would be stale.
  for (const output of outputs) internals.tensorMap.get(output.dataId).values = null;

  const cache = cacheOf(backend.device);
  const { pipeline, layout } = pipelineOf(backend.device, cache, request, outputs.length);
  const entries: GPUBindGroupEntry[] = tensors.map((tensor, binding) => ({
    binding,
    resource: { buffer: internals.tensorMap.get(tensor.dataId).resource! },
  }));
  if (request.uniforms) {
    const buffer = uniformBuffer(backend.device, cache, request.uniforms);
    entries.push({ binding: tensors.length, resource: { buffer } });
  }
  const group = backend.device.createBindGroup({ layout, entries });
  encode(internals, request, pipeline, group);
  for (const tensor of tensors) internals.commandQueueOwnedIds.add(tensor.dataId);
  submitWhenFull(internals, request.key);
  return outputs;
}

function newOutput(
  { shape, dtype, stored }: NewOutput,
  backend: WebGPUBackend,
  internals: WebgpuInternals,
): TensorInfo {
  const made = backend.makeTensorInfo(shape, dtype);
  const factor = typeof stored === "string"
    ? halfFactorOf(stored)
    : stored && halfOf(stored)?.factor;
  if (factor !== undefined) makeHalf(made, factor, internals);
  return made;
}

/** The request with a module that reads and writes f16 where the tensors at its bindings are so. */
function withHalves(request: Dispatch, tensors: readonly TensorInfo[]): Dispatch {
  const halves = new Map<number, number>();
  tensors.forEach((tensor, binding) => {
    const half = halfOf(tensor);
    if (half) halves.set(binding, half.factor);
  });
  if (halves.size === 0) return request;
  const places = Array.from(halves, ([binding, factor]) => `${binding}x${factor}`);
  return {
    ...request,
    key: `${request.key}/f16:${places}`,
    wgsl: () => halfWgsl(request.wgsl(), halves),
  };
}

function encode(
  backend: WebgpuInternals,
  request: Dispatch,
  pipeline: GPUComputePipeline,
  bindGroup: GPUBindGroup,
): void {
  backend.ensureCommandEncoderReady();
  const encoder = backend.commandEncoder!;
  if (isTimed(backend)) {
    // Every kernel gets a pass of its own, bracketed by timestamps.
    backend.endComputePassEncoder();
    backend.querySet ??= backend.device.createQuerySet({
      type: "timestamp",
      count: backend.querySetCount,
    });
    backend.computePassEncoder = encoder.beginComputePass({
      timestampWrites: {
        querySet: backend.querySet,
        beginningOfPassWriteIndex: 0,
        endOfPassWriteIndex: 1,
      },
    });
  }
  const pass = backend.computePassEncoder ??= encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(...request.workgroups);
  backend.dispatchCountInPass++;
  dispatchCount++;
}

function submitWhenFull(backend: WebgpuInternals, name: string): void {
  if (isTimed(backend)) {
    backend.endComputePassEncoder();
    backend.activeTimers!.push({ name, query: backend.getQueryTime() });
  } else if (
    backend.dispatchCountInPass >= tf.env().getNumber("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE")
  ) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
}

function cacheOf(device: GPUDevice): DeviceCache {
  let cache = caches.get(device);
  if (!cache) {
    cache = { pipelines: new Map(), layouts: new Map(), uniforms: new Map() };
    caches.set(device, cache);
  }
  return cache;
}

function pipelineOf(device: GPUDevice, cache: DeviceCache, request: Dispatch, outputs: number) {
  const cached = cache.pipelines.get(request.key);
  if (cached) return cached;
  const layout = bindGroupLayout(device, cache, request.inputs.length, outputs, !!request.uniforms);
  const made = {
    layout,
    pipeline: device.createComputePipeline({
      label: request.key,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: device.createShaderModule({ label: request.key, code: request.wgsl() }),
        entryPoint: "main",
      },
    }),
  };
  cache.pipelines.set(request.key, made);
  return made;
}

function bindGroupLayout(
  device: GPUDevice,
  cache: DeviceCache,
  inputs: number,
  outputs: number,
  uniform: boolean,
): GPUBindGroupLayout {
  const key = `${inputs},${outputs},${uniform}`;
  let layout = cache.layouts.get(key);
  if (!layout) {
    const types: GPUBufferBindingType[] = [
      ...Array<GPUBufferBindingType>(inputs).fill("read-only-storage"),
      ...Array<GPUBufferBindingType>(outputs).fill("storage"),
      ...(uniform ? ["uniform" as const] : []),
    ];
    layout = device.createBindGroupLayout({
      entries: types.map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    cache.layouts.set(key, layout);
    writtenBindings.set(layout, { from: inputs, to: inputs + outputs });
  }
  return layout;
}

function uniformBuffer(device: GPUDevice, cache: DeviceCache, words: Uint32Array): GPUBuffer {
  const key = words.join();
  let buffer = cache.uniforms.get(key);
  if (!buffer) {
    const size = Math.ceil(words.byteLength / 16) * 16;
    buffer = device.createBuffer({ size, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(buffer, 0, words as Uint32Array<ArrayBuffer>);
    cache.uniforms.set(key, buffer);
  }
  return buffer;
}
