/** A computation that is called again and again: plainly, or captured where that pays. */
import { tf } from "../tfjs.ts";
import { capture, type Inputs } from "./capture.ts";
import { CaptureError } from "./intercept.ts";
import type { Capture } from "./replay.ts";
import { currentGpu, withGpuCheck } from "../backend/device.ts";

/** Values of an input for one call. */
export interface InputValues {
  /** Extents, outermost first. */
  shape: number[];
  /** An Int32Array makes an int32 tensor, a Float32Array a float32 one. */
  values: Float32Array | Int32Array;
}

/** Options of {@linkcode Repeated}. */
export interface RepeatedOptions {
  /**
   * The call of the same shapes at which they are captured. 2 by default: shapes that come once
   * cost no capture, and the first call makes what `fn` makes only once. Take 1 where most calls
   * have the same shapes and a plain first one would only compile shaders of tfjs; see `prepare`.
   */
  captureAt?: 1 | 2;
  /** Called before each capture; makes what `fn` makes at its first call, such as moments. */
  prepare?: () => void;
  /**
   * Reason why it must never be captured, in a sentence without full stop; null or absent when it
   * may.
   */
  whyPlain?: string | null;
}

/**
 * A computation of `fn` that runs through tfjs, or as a replay of what was captured of it: at the
 * first or second call of the same shapes, on the webgpu backend. The numbers are the same. What is
 * no longer right (a variable was given other data) is captured anew, and what cannot be captured
 * runs plainly; {@linkcode whyPlain} then says why. Owns what it captured; call `dispose`.
 *
 * @example
 * ```ts ignore
 * const squares = new Repeated(({ x }: { x: tf.Tensor1D }) => tf.square(x));
 * await squares.read({ x: { shape: [2], values: Float32Array.of(3, 4) } }); // [9, 16]
 * squares.dispose();
 * ```
 */
export class Repeated<I extends Inputs, O extends tf.Tensor | void> {
  /** By shapes and types; all but the first borrow its memory, since none runs beside another. */
  private readonly captures = new Map<string, Captured<O>>();
  private readonly seen = new Set<string>();
  private readonly pace = new Pace();
  private whyPlain_: string | null;

  /** @param fn what {@linkcode capture} takes, with tensors named as the values of each call */
  constructor(
    private readonly fn: (inputs: I) => O,
    private readonly options: RepeatedOptions = {},
  ) {
    const backend = tf.getBackend();
    this.whyPlain_ = backend === "webgpu"
      ? options.whyPlain ?? null
      : `the ${backend} backend cannot capture`;
  }

  /** Reason why calls are not captured; null when they are, or will be. */
  get whyPlain(): string | null {
    return this.whyPlain_;
  }

  /**
   * The first capture whose inputs have these shapes; inputs that are not named may have any.
   *
   * @param shapes such as `{ labels: [64] }`
   */
  captureOf(shapes: Partial<Record<keyof I, readonly number[]>>): Capture<O> | undefined {
    const wanted = Object.entries(shapes) as [string, readonly number[]][];
    for (const { captured, shapes } of this.captures.values()) {
      if (wanted.every(([name, shape]) => shapes[name]?.join() === shape.join())) return captured;
    }
    return undefined;
  }

  /**
   * Computes once what changes tensors and variables in place and returns nothing. The device may
   * still be at work afterwards.
   */
  async run(this: Repeated<I, void>, inputs: Record<keyof I, InputValues>): Promise<void> {
    const captured = await this.currentCapture(inputs);
    if (captured) await this.pace.replay(captured, inputs);
    else tf.tidy(() => this.fn(tensorsOf<I>(inputs)));
  }

  /**
   * Computes one tensor and reads it.
   *
   * @param valuesOf reads it; by default a copy, that of an int32 or bool tensor as floats
   * @throws {UserError} when the device is lost or out of memory
   */
  async read(
    this: Repeated<I, tf.Tensor>,
    inputs: Record<keyof I, InputValues>,
    valuesOf: (tensor: tf.Tensor) => Promise<Float32Array> = floatsOf,
  ): Promise<Float32Array> {
    const captured = await this.currentCapture(inputs);
    if (captured) {
      await this.pace.replay(captured, inputs);
      const values = await valuesOf(captured.outputs);
      this.pace.noteDone();
      return values;
    }
    const output = tf.tidy(() => this.fn(tensorsOf<I>(inputs)));
    try {
      return await valuesOf(output);
    } finally {
      output.dispose();
    }
  }

  /** The capture to replay, made or made anew where needed; null when the call must be plain. */
  private async currentCapture(inputs: Record<keyof I, InputValues>): Promise<Capture<O> | null> {
    if (this.whyPlain_ !== null) return null;
    // Loaded weights, for example, are other data than those that were captured.
    const isStale = [...this.captures.values()].some(({ captured }) =>
      captured.staleness() !== null
    );
    if (isStale) this.dispose();
    const key = keyOf(inputs);
    const known = this.captures.get(key);
    if (known) return known.captured;
    const isFirst = !this.seen.has(key);
    this.seen.add(key);
    if (isFirst && this.options.captureAt !== 1) return null;
    try {
      const captured = await this.make(inputs);
      const shapes = Object.entries<InputValues>(inputs).map(([name, { shape }]) => [name, shape]);
      this.captures.set(key, { captured, shapes: Object.fromEntries(shapes) });
      const reason = captured.staleness();
      if (reason !== null) throw new CaptureError(reason);
      return captured;
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      this.whyPlain_ = error.message;
      this.dispose();
      return null;
    }
  }

  private async make(values: Record<keyof I, InputValues>): Promise<Capture<O>> {
    this.options.prepare?.();
    const inputs = tensorsOf<I>(values);
    try {
      // A call in earnest would be one step of a training too many.
      const memoryOf = [...this.captures.values()][0]?.captured;
      return await capture({ inputs, fn: this.fn, warmup: false, memoryOf });
    } finally {
      tf.dispose(inputs);
    }
  }

  /** Frees what was captured. It may be called again afterwards, and captures anew. */
  dispose(): void {
    for (const { captured } of this.captures.values()) captured.dispose();
    this.captures.clear();
  }
}

interface Captured<O> {
  captured: Capture<O>;
  shapes: Record<string, number[]>;
}

/** Submissions that a hardware device may have before it; more would only delay Ctrl-C. */
const MOST_IN_FLIGHT = 2;

/** Milliseconds of a replay from which on signals and timers should not wait for it. */
const LONG_MS = 250;

/** Milliseconds of a submission from which on it has waited for the one before. */
const BLOCKED_MS = 20;

/**
 * Replays, no faster than the device follows.
 *
 * On a software adapter a submission blocks JavaScript until the one before is done, and so does
 * asking the queue or reading a buffer. Only time that passes before lets signals and timers
 * through: so most of what the last replay of the same capture took is slept, where that is long.
 */
class Pace {
  /** One for each submission that a hardware device may not have done yet. */
  private readonly inFlight: Promise<unknown>[] = [];
  /** Time that replays of a capture take on a software device, in milliseconds, as last seen. */
  private readonly times = new WeakMap<Capture<unknown>, number>();
  /** Those that were replayed before. */
  private readonly warm = new WeakSet<Capture<unknown>>();
  /** The last replay on a software device, until it is known to be done. */
  private last: { capture: Capture<unknown>; start: number } | null = null;

  async replay(capture: Capture<unknown>, inputs: Record<string, InputValues>): Promise<void> {
    if (this.inFlight.length === MOST_IN_FLIGHT) await waited(this.inFlight.shift()!);
    for (const [name, { values }] of Object.entries(inputs)) capture.write(name, values);
    const before = performance.now();
    capture.replay();
    const gpu = currentGpu();
    if (!gpu) return;
    if (!gpu.isSoftware) {
      this.inFlight.push(done(gpu.device));
      return;
    }
    // Where nothing blocked, the replay before may have been done for a while: sleep less.
    this.noteDone(performance.now() - before > BLOCKED_MS ? 1 : 0.75);
    this.last = { capture, start: performance.now() };
    const time = this.times.get(capture);
    if (time === undefined) {
      await waited(done(gpu.device));
      // The first replay also compiles, where the driver does that late.
      if (this.warm.has(capture)) this.noteDone();
      else this.last = null;
      this.warm.add(capture);
    } else if (time > LONG_MS) {
      await waited(new Promise((resolve) => setTimeout(resolve, 0.9 * time)));
    }
  }

  /** Takes down that the last replay is done; `share` of the time since it began counts. */
  noteDone(share = 1): void {
    if (!this.last) return;
    const { capture, start } = this.last;
    const known = share < 1 ? this.times.get(capture) ?? Infinity : Infinity;
    this.times.set(capture, share * Math.min(known, performance.now() - start));
    this.last = null;
  }
}

/** Milliseconds that replays have waited for the device so far, for benches. */
export let waitedMs = 0;

async function waited(wait: Promise<unknown>): Promise<void> {
  const start = performance.now();
  await wait;
  waitedMs += performance.now() - start;
}

/** Resolves when the device has done all that was submitted. */
async function done(device: GPUDevice): Promise<void> {
  // A lost device is noticed by whoever reads a result.
  await device.queue.onSubmittedWorkDone().catch(() => {});
}

/** The values of a tensor; tfjs hands out other arrays also for some float32 tensors. */
async function floatsOf(tensor: tf.Tensor): Promise<Float32Array> {
  const values: ArrayLike<number> = await withGpuCheck(() => tensor.data<"float32" | "int32">());
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

function keyOf(inputs: Record<string, InputValues>): string {
  return Object.entries(inputs)
    .map(([name, { shape, values }]) => `${name} ${dtypeOf(values)} [${shape}]`).join();
}

function dtypeOf(values: Float32Array | Int32Array): "float32" | "int32" {
  return values instanceof Int32Array ? "int32" : "float32";
}

/** Tensors of such values, by name; the caller owns them. */
export function tensorsOf<I extends Inputs>(inputs: Record<keyof I, InputValues>): I {
  return Object.fromEntries(
    Object.entries<InputValues>(inputs).map(([name, { shape, values }]) => {
      return [name, tf.tensor(values, shape, dtypeOf(values))];
    }),
  ) as I;
}
