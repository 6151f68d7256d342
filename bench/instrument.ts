/**
 * Counts what a program asks of WebGPU, by wrapping the methods of its classes.
 *
 * {@linkcode installMeters} must run before the device is made, because the device of
 * `lib/backend/device.ts` keeps the `createBuffer` that it finds. Calls go to the meter that is in
 * use; a buffer stays with the meter it was made under, whoever destroys it.
 */

/** Sums of calls. */
export interface Counts {
  dispatches: number;
  submits: number;
  /** Calls of `createBuffer`. */
  buffers: number;
  bindGroups: number;
  pipelines: number;
  /** Milliseconds inside `submit()`, where a software adapter waits for the submission before. */
  submitMs: number;
}

const noCounts = (): Counts => ({
  dispatches: 0,
  submits: 0,
  buffers: 0,
  bindGroups: 0,
  pipelines: 0,
  submitMs: 0,
});

/** Counts the calls made while it is in use. */
export class Meter {
  readonly counts: Counts = noCounts();
  /** Bytes of the buffers that were made and not yet destroyed. */
  aliveBytes = 0;
  /** The most that {@linkcode aliveBytes} has been. */
  peakAliveBytes = 0;
  /** The most that {@linkcode usedBytes} has said. */
  peakUsedBytes = 0;

  /** @param usedBytes asked at every dispatch, for allocators that keep free buffers. */
  constructor(readonly usedBytes: () => number = () => 0) {}

  /** Counts since an earlier copy of {@linkcode counts}. */
  since(earlier: Counts): Counts {
    const difference = noCounts();
    for (const key of Object.keys(difference) as (keyof Counts)[]) {
      difference[key] = this.counts[key] - earlier[key];
    }
    return difference;
  }
}

let inUse: Meter | null = null;
let installed = false;
const owners = new WeakMap<GPUBuffer, { meter: Meter; size: number }>();

/** Sends all further calls to `meter`, or to none. */
export function useMeter(meter: Meter | null): void {
  inUse = meter;
}

/** Wraps the classes of WebGPU; does nothing the second time. */
export function installMeters(): void {
  if (installed) return;
  installed = true;
  count(GPUComputePassEncoder.prototype, "dispatchWorkgroups", (meter) => {
    meter.counts.dispatches++;
    meter.peakUsedBytes = Math.max(meter.peakUsedBytes, meter.usedBytes());
  });
  count(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", (meter) => {
    meter.counts.dispatches++;
  });
  count(GPUDevice.prototype, "createBindGroup", (meter) => {
    meter.counts.bindGroups++;
  });
  count(GPUDevice.prototype, "createComputePipeline", (meter) => {
    meter.counts.pipelines++;
  });

  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    if (inUse) {
      inUse.counts.buffers++;
      inUse.aliveBytes += buffer.size;
      inUse.peakAliveBytes = Math.max(inUse.peakAliveBytes, inUse.aliveBytes);
      owners.set(buffer, { meter: inUse, size: buffer.size });
    }
    return buffer;
  };
  const { destroy } = GPUBuffer.prototype;
  GPUBuffer.prototype.destroy = function () {
    const owner = owners.get(this);
    if (owner) {
      owner.meter.aliveBytes -= owner.size;
      owners.delete(this);
    }
    return destroy.call(this);
  };
  const { submit } = GPUQueue.prototype;
  GPUQueue.prototype.submit = function (commandBuffers) {
    const start = performance.now();
    const result = submit.call(this, commandBuffers);
    if (inUse) {
      inUse.counts.submits++;
      inUse.counts.submitMs += performance.now() - start;
    }
    return result;
  };
}

/** Calls `note` before the method, whatever its arguments. */
function count<Name extends string>(
  prototype: { [name in Name]: unknown },
  name: Name,
  note: (meter: Meter) => void,
): void {
  const method = prototype[name] as (...args: unknown[]) => unknown;
  prototype[name] = function (this: unknown, ...args: unknown[]) {
    if (inUse) note(inUse);
    return method.apply(this, args);
  };
}
