/** A computation that is called again and again, and captured once that pays. */
import { tf } from "../tfjs.ts";
import { type Capture, capture, CaptureError, type Inputs } from "./capture.ts";
import { withGpuCheck } from "../backend/device.ts";

/** Values of an input for one call. */
export interface InputValues {
  shape: number[];
  /** Int32Array makes an int32 tensor. */
  values: Float32Array | Int32Array;
}

/**
 * Computes one tensor from inputs and reads it. The first call of a shape goes through tfjs; from the
 * second on the computation is captured, where the backend can, so the shape that comes once costs no
 * capture. The numbers are the same. Owns what it captured; call `dispose`.
 */
export class Repeated {
  private record: { capture: Capture<tf.Tensor>; shapes: string } | null = null;
  private lastShapes = "";
  private canCapture = tf.getBackend() === "webgpu";

  /** @param fn what {@linkcode capture} takes, with tensors named as the values of each call */
  constructor(private readonly fn: (inputs: Inputs) => tf.Tensor) {}

  /** Whether the last shapes are captured. */
  get isCaptured(): boolean {
    return this.record !== null && this.record.shapes === this.lastShapes;
  }

  /** @throws {UserError} when the device is lost or out of memory */
  async run(inputs: Record<string, InputValues>): Promise<Float32Array> {
    const shapes = Object.values(inputs).map(({ shape }) => `[${shape}]`).join();
    const isRepeated = shapes === this.lastShapes;
    this.lastShapes = shapes;
    if (isRepeated) await this.prepare(inputs, shapes);
    if (!this.isCaptured) {
      const output = tf.tidy(() => this.fn(tensorsOf(inputs)));
      try {
        return await withGpuCheck(() => output.data<"float32">());
      } finally {
        output.dispose();
      }
    }
    const { capture } = this.record!;
    for (const [name, { values }] of Object.entries(inputs)) capture.write(name, values);
    capture.replay();
    return await withGpuCheck(() => capture.outputs.data<"float32">());
  }

  /** Makes sure that there is a record for these shapes which is still right, if there can be one. */
  private async prepare(inputs: Record<string, InputValues>, shapes: string): Promise<void> {
    if (this.record?.shapes === shapes && this.record.capture.staleness() === null) return;
    this.dispose();
    if (!this.canCapture) return;
    const tensors = tensorsOf(inputs);
    try {
      const request = { inputs: tensors, fn: this.fn, warmup: false };
      this.record = { capture: await capture(request), shapes };
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      this.canCapture = false;
    } finally {
      tf.dispose(tensors);
    }
  }

  dispose(): void {
    this.record?.capture.dispose();
    this.record = null;
  }
}

function tensorsOf(inputs: Record<string, InputValues>): Inputs {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, values }]) => [
      name,
      tf.tensor(values, shape, values instanceof Int32Array ? "int32" : "float32"),
    ]),
  );
}
