/**
 * Our own WebGPU device: the adapter's limits instead of the small defaults, the useful features,
 * validation errors kept instead of lost, buffers above the limit refused with advice, and the loss
 * of the device noticed.
 *
 * WebGPU reports a validation error after the fact and tfjs ignores it: the invalid dispatch is
 * skipped and zeros come back. So every error that nobody captures is kept here, and
 * {@linkcode assertGpuHealthy} throws it. The event arrives one turn of the event loop after the
 * faulty call, so an awaited read of a tensor that the GPU made is late enough to ask; {@linkcode
 * checkGpu} waits.
 */
import { UserError } from "../errors.ts";
import { tf, WebGPUBackend } from "../tfjs.ts";
import { widening } from "./widen.ts";

/** A WebGPU device with what we know of it. */
export interface Gpu {
  /** The device itself. */
  readonly device: GPUDevice;
  /** Information that the driver gives of itself. */
  readonly info: GPUAdapterInfo;
  /** One line for people: the driver's own name of the adapter. */
  readonly description: string;
  /** True when the adapter computes on the CPU (for example Mesa's llvmpipe). */
  readonly isSoftware: boolean;
  /** The features the device was given, among {@linkcode usefulFeatures}. */
  readonly features: ReadonlySet<string>;
  /** The largest storage buffer, in bytes, hence the largest tensor. */
  readonly bufferLimit: number;
  /** The first error that nobody captured. */
  firstError?: GPUError;
  /** Number of errors that nobody captured. */
  errorCount: number;
  /** Set when the device is lost, also by `device.destroy()`. */
  lost?: GPUDeviceLostInfo;
}

/** Options of {@linkcode requestGpu}. */
export interface GpuOptions {
  /** A lower limit than the device's own, in bytes; WebGPU itself grants none below 256 MiB. */
  bufferLimit?: number;
  /** An adapter already found, which has made no device yet; by default the system is asked. */
  adapter?: AdapterFacts;
}

/** Features that the kernels or the profiler can use; each is optional. */
export const usefulFeatures = ["timestamp-query", "shader-f16", "subgroups"] as const;

const gpus = new WeakMap<GPUDevice, Gpu>();

/** An adapter as {@linkcode findAdapter} sees it, before any device is made. */
export interface AdapterFacts {
  /** The adapter; it can make one device. */
  readonly adapter: GPUAdapter;
  /** One line for people: the driver's own name of the adapter. */
  readonly description: string;
  /** True when the adapter computes on the CPU. */
  readonly isSoftware: boolean;
}

/** The adapter that the system offers, or null when there is none. */
export async function findAdapter(): Promise<AdapterFacts | null> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return null;
  const { description, vendor, architecture, device, isFallbackAdapter } = adapter.info;
  return {
    adapter,
    // Browsers tell neither their users' description nor, mostly, the device.
    description: description || `vendor ${vendor}, device ${device || architecture}`,
    isSoftware: isFallbackAdapter,
  };
}

/**
 * A device of the system's adapter, or null when there is no adapter.
 *
 * @throws {Error} when the adapter refuses to make a device.
 */
export async function requestGpu(options: GpuOptions = {}): Promise<Gpu | null> {
  const found = options.adapter ?? await findAdapter();
  if (!found) return null;
  const { adapter, description, isSoftware } = found;
  const device = await requestDevice(adapter);
  const gpu: Gpu = {
    device,
    info: adapter.info,
    description,
    isSoftware,
    features: new Set(usefulFeatures.filter((feature) => {
      // Where an adapter lists subgroups, as in browsers, WGSL must enable them, and Deno's refuses
      // just that. Kernels written for both would serve software adapters alone.
      const isOfDeno = feature !== "subgroups" || !adapter.features.has(feature);
      return isOfDeno && device.features.has(feature);
    })),
    bufferLimit: Math.min(
      device.limits.maxBufferSize,
      device.limits.maxStorageBufferBindingSize,
      options.bufferLimit ?? Infinity,
    ),
    errorCount: 0,
  };
  gpus.set(device, gpu);
  device.addEventListener("uncapturederror", (event) => {
    gpu.firstError ??= (event as GPUUncapturedErrorEvent).error;
    gpu.errorCount++;
  });
  device.lost.then((info) => gpu.lost = info);
  refuseLargeBuffers(gpu);
  return gpu;
}

/** Makes `gpu` the device of the tfjs backend "webgpu", in place of any earlier one. */
export function registerWebgpu(gpu: Gpu): void {
  if (tf.findBackendFactory("webgpu")) tf.removeBackend("webgpu");
  tf.registerBackend("webgpu", () => widening(new WebGPUBackend(gpu.device, gpu.info)), 3);
}

/** The GPU under the current tfjs backend; undefined on wasm, cpu and a device not ours. */
export function currentGpu(): Gpu | undefined {
  if (tf.getBackend() !== "webgpu") return undefined;
  return gpus.get((tf.backend() as WebGPUBackend).device);
}

/**
 * Throws when the GPU has reported an error or is lost; does nothing on host backends. Cheap: call
 * it after each awaited read of metrics.
 *
 * @throws {UserError} when the device is lost or out of memory.
 * @throws {GpuError} with the WebGPU text of the first error that nobody captured; once.
 *
 * @example
 * ```ts
 * import { assertGpuHealthy, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * console.log(await tf.add(1, 2).data()); // 3
 * assertGpuHealthy();
 * ```
 */
export function assertGpuHealthy(gpu: Gpu | undefined = currentGpu()): void {
  if (gpu?.lost) {
    const { reason, message } = gpu.lost;
    throw new UserError(
      `The GPU device was lost (${reason}: ${message}); the last checkpoint is intact, ` +
        `run the same command again with --resume.`,
    );
  }
  if (!gpu?.firstError) return;
  const { firstError, errorCount } = gpu;
  // It belongs to the call that meets it first, and not to all that follow.
  clearGpuErrors(gpu);
  const more = errorCount > 1 ? ` (the first of ${errorCount} errors)` : "";
  const text = `${firstError.constructor.name} on ${gpu.description}${more}: ` +
    firstError.message.trim();
  if (firstError instanceof GPUOutOfMemoryError) {
    throw new UserError(`${text}; take a smaller batch (--batch-size), or --backend wasm.`);
  }
  throw new GpuError(text);
}

/**
 * Error of WebGPU that nobody captured: what the device computed since may be wrong.
 *
 * @example
 * ```ts
 * import { checkGpu, GpuError } from "../../mod.ts";
 *
 * await checkGpu().catch((error) => {
 *   console.log(error instanceof GpuError ? "a fault of a kernel" : "lost, or out of memory");
 * });
 * ```
 */
export class GpuError extends Error {
  /** Name of the class. */
  override readonly name = "GpuError";
}

/**
 * Awaits a read from the device, then {@linkcode assertGpuHealthy}. A read of a lost device fails
 * with a message that says nothing; here the loss itself is thrown instead.
 *
 * @example
 * ```ts ignore
 * const losses = await withGpuCheck(() => lossTensor.data());
 * ```
 */
export async function withGpuCheck<T>(read: () => Promise<T>): Promise<T> {
  const gpu = currentGpu();
  try {
    const value = await read();
    assertGpuHealthy(gpu);
    return value;
  } catch (error) {
    // The report of a loss may arrive after the read has failed.
    if (!(error instanceof UserError)) await checkGpu(gpu);
    throw error;
  }
}

/**
 * Waits until the GPU has done all submitted work, then {@linkcode assertGpuHealthy}.
 *
 * @example
 * ```ts
 * import { checkGpu, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const product = tf.matMul(tf.ones([2, 3]), tf.ones([3, 2]));
 * await checkGpu();
 * product.dispose();
 * ```
 */
export async function checkGpu(gpu: Gpu | undefined = currentGpu()): Promise<void> {
  if (gpu) {
    await gpu.device.queue.onSubmittedWorkDone();
    // Error events are tasks of their own; one more turn lets those already queued run.
    await new Promise((resolve) => setTimeout(resolve));
  }
  assertGpuHealthy(gpu);
}

/** Forgets errors kept so far, after a test or a probe that meant to cause them. */
export function clearGpuErrors(gpu: Gpu): void {
  delete gpu.firstError;
  gpu.errorCount = 0;
}

/** The most bytes one tensor may have on the current backend; Infinity on host backends. */
export function bufferLimit(): number {
  return currentGpu()?.bufferLimit ?? Infinity;
}

/** The largest batch whose tensor of `bytesPerImage` an image stays within `limit` bytes. */
export function largestBatch(bytesPerImage: number, limit: number = bufferLimit()): number {
  return Math.floor(limit / bytesPerImage);
}

/**
 * Asserts that a tensor fits the device, before it is made.
 *
 * @param tensor Its name, its size in bytes at `batchSize` images; 0 when it does not grow with the
 * batch. Images beyond the batch that it has too are `more`.
 * @throws {UserError} naming the tensor, its size, the limit and the batch that would fit.
 */
export function assertFits(
  tensor: { name: string; bytes: number; batchSize: number; more?: number },
  limit: number = bufferLimit(),
): void {
  if (tensor.bytes <= limit) return;
  const { name, bytes, batchSize, more } = tensor;
  throw adviseBatch(new TooLarge(name, bytes, limit), batchSize, more);
}

/** Error of a tensor above the device's limit on one buffer. */
class TooLarge extends UserError {
  constructor(
    readonly tensor: string,
    readonly bytes: number,
    readonly limit: number,
    advice = "take a smaller model, or --backend wasm",
  ) {
    super(
      `${tensor} would take ${mebibytes(bytes)}, above this GPU's limit of ${mebibytes(limit)} ` +
        `a buffer; ${advice}.`,
    );
  }
}

/**
 * An error as it is, but that of a tensor above the device's limit names the batch that fits.
 * @param batchSize images of the batch that the tensor was made for; 0 when it has none
 * @param more images that the tensor has beyond those of the batch
 */
export function adviseBatch(error: unknown, batchSize: number, more = 0): unknown {
  if (!(error instanceof TooLarge) || batchSize === 0) return error;
  const { tensor, bytes, limit } = error;
  const fits = largestBatch(bytes / (batchSize + more), limit) - more;
  if (fits <= 0) return error;
  const advice = `take a batch of at most ${fits} instead of ${batchSize} (--batch-size ${fits})`;
  return new TooLarge(tensor, bytes, limit, advice);
}

function mebibytes(bytes: number): string {
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${bytes} bytes`;
}

/** tfjs would go on with an invalid buffer and compute zeros; an exception names the call. */
function refuseLargeBuffers(gpu: Gpu): void {
  const { device } = gpu;
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const isStorage = (descriptor.usage & GPUBufferUsage.STORAGE) !== 0;
    const limit = isStorage ? gpu.bufferLimit : device.limits.maxBufferSize;
    if (descriptor.size > limit) {
      const name = descriptor.label ? `The tensor "${descriptor.label}"` : "A tensor";
      throw new TooLarge(name, descriptor.size, limit);
    }
    return createBuffer(descriptor);
  };
}

async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === "number") requiredLimits[name] = value;
  }
  const offered = usefulFeatures.filter((feature) => adapter.features.has(feature));
  // Deno does not list "subgroups" among an adapter's features, yet grants it on request.
  const wishes: string[][] = [[...new Set([...offered, "subgroups"])], offered, []];
  let refusal: unknown;
  for (const features of wishes) {
    try {
      return await adapter.requestDevice({
        requiredFeatures: features as GPUFeatureName[],
        requiredLimits,
      });
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}
