/**
 * Host memory into which a device's tensor is read again and again. tfjs makes a new array for each
 * read, and copies into it what the device has already copied.
 */
import type { tf } from "../tfjs.ts";
import { withGpuCheck } from "./device.ts";
import { flushBackend, webgpuInternals } from "./tfjs_internals.ts";

/** Reads of one tensor of the webgpu backend after another. Owns a buffer; call `dispose`. */
export class Readback {
  private buffer?: GPUBuffer;

  /**
   * Waits for a float32 tensor and gives its values, in the memory that the device has copied them to:
   * they may be changed there, which the tensor does not see, until {@linkcode release}.
   * @throws {UserError} when the device is lost or out of memory
   */
  async read({ dataId, size }: tf.Tensor): Promise<Float32Array> {
    const backend = webgpuInternals();
    const { device } = backend;
    backend.uploadToGPU(dataId);
    flushBackend(backend);
    const bytes = 4 * size;
    if (this.buffer?.size !== bytes) {
      this.dispose();
      const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
      this.buffer = device.createBuffer({ size: bytes, usage });
    }
    const buffer = this.buffer!;
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(backend.tensorMap.get(dataId).resource!, 0, buffer, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await withGpuCheck(() => buffer.mapAsync(GPUMapMode.READ));
    return new Float32Array(buffer.getMappedRange());
  }

  /** Ends the life of the values read last; the next read needs it. */
  release(): void {
    this.buffer?.unmap();
  }

  dispose(): void {
    this.buffer?.destroy();
    this.buffer = undefined;
  }
}
