/**
 * Record once, replay: takes JavaScript out of a computation that is repeated with the same shapes.
 *
 * tfjs spends over 100 us of JavaScript on every dispatch: tape, tensors, shader keys, uniform
 * buffers, bind groups. {@linkcode capture} lets a function go through tfjs once, writes down what
 * it asks of the device (record.ts), gives the intermediate results memory of their own (plan.ts),
 * and from then on a replay is one command buffer, in which a dispatch costs about a microsecond.
 *
 * The function is recorded twice, without reaching the device, and both recordings must be equal.
 * That is how values from JavaScript that change from call to call are found: random numbers, step
 * counters, learning rates. They must be inputs; what is equal is a constant of the capture.
 */
import { tf } from "../tfjs.ts";
import { emptyPool, webgpuInternals } from "../backend/tfjs_internals.ts";
import { CaptureError, warmUp } from "./intercept.ts";
import { type Command, isVirtual } from "./plan.ts";
import { record, type Recording } from "./record.ts";
import { Capture, madeTensors, type NumberArray } from "./replay.ts";

/** Inputs of a captured function, by name. */
export type Inputs = Record<string, tf.Tensor>;

/** Computation to capture, and options of {@linkcode capture}. */
export interface CaptureRequest<I extends Inputs, O> {
  /** Tensors to make inputs of: shape and type, and values until {@linkcode Capture.write}. */
  inputs?: I;
  /**
   * The computation. It may read tensors and variables from outside, update them in place and
   * assign variables; what it returns must be tensors, alone or in arrays and objects, or nothing.
   */
  fn: (inputs: I) => O;
  /**
   * Calls `fn` once in earnest, so that what it makes at its first call is there: an optimizer's
   * moments, compiled shaders. Counts as one step of a training. Default true; false when it has
   * been called before.
   */
  warmup?: boolean;
  /**
   * Another capture whose memory for intermediate results this one may use as well. It must live as
   * long as this one.
   */
  memoryOf?: Capture<unknown>;
}

/**
 * Captures a computation on tfjs's webgpu backend, ours or any other in which all shapes stay.
 *
 * @example
 * ```ts
 * import { capture, selectBackend, tf } from "../../mod.ts";
 *
 * if ((await selectBackend("auto")).name === "webgpu") {
 *   const w = tf.variable(tf.ones([3]));
 *   const optimizer = tf.train.sgd(0.5);
 *   const step = await capture({
 *     inputs: { x: tf.zeros([3]) },
 *     fn: ({ x }) => optimizer.minimize(() => w.mul(x).sum() as tf.Scalar, true, [w])!,
 *   });
 *   step.write("x", new Float32Array([1, 2, 3])).replay();
 *   console.log(await step.outputs.data()); // 6
 *   step.dispose();
 * }
 * ```
 *
 * @throws {CaptureError} when the function does what cannot be replayed, naming the operation: host
 * reads, values from JavaScript that are not the same at each call, tensors that outlive it; or
 * when an input is not of numbers.
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
  const backend = webgpuInternals();
  const { device } = backend;
  // One after the other: two reads of one tensor at once break.
  const initial = new Map<string, NumberArray>();
  for (const [name, tensor] of Object.entries(inputs)) {
    if (!["float32", "int32", "bool"].includes(tensor.dtype)) {
      throw new CaptureError(
        `Input "${name}" is ${tensor.dtype}; only float32, int32 and bool can be inputs.`,
      );
    }
    initial.set(name, await tensor.data<"float32" | "int32" | "bool">());
  }
  const call = fn as (inputs: Inputs) => O;
  if (warmup) {
    const results = warmUp(backend, call, { ...inputs });
    // An input may be returned, and stays the caller's.
    const given = new Set(Object.values(inputs));
    tf.dispose(madeTensors(results).filter((tensor) => !given.has(tensor)));
  }
  const first = record(backend, inputs, call);
  tf.dispose(madeTensors(first.outputs));
  const second = record(backend, inputs, call);
  // What the warm-up and the making of weights took would lie idle beside the capture's own memory.
  emptyPool(backend);
  device.pushErrorScope("validation");
  let made: Capture<O> | undefined;
  try {
    assertEqual(first, second);
    made = new Capture(backend, inputs, second, memoryOf);
  } catch (error) {
    tf.dispose(madeTensors(second.outputs));
    throw error;
  } finally {
    const error = await device.popErrorScope();
    if (error) {
      made?.dispose();
      // deno-lint-ignore no-unsafe-finally
      throw new Error(`WebGPU refuses the capture: ${error.message}`);
    }
  }
  for (const [name, values] of initial) made.write(name, values);
  return made;
}

/**
 * Asserts that two recordings of a function are equal.
 *
 * @throws {CaptureError} naming the first operation that differs
 */
function assertEqual(a: Recording<unknown>, b: Recording<unknown>): void {
  b.commands.forEach((command, index) => {
    const other = a.commands[index];
    const buffers = other && buffersOf(command, other);
    if (!buffers) throw new CaptureError(differs(command.op));
    for (const [mine, others] of buffers) {
      if (!isVirtual(mine) || !isVirtual(others)) {
        if (mine !== others) throw new CaptureError(differs(command.op));
      } else if (mine.size !== others.size || mine.index !== others.index) {
        throw new CaptureError(differs(command.op));
      } else if (!areEqual(mine.content, others.content)) {
        throw new CaptureError(
          `${command.op} gets ${mine.size} bytes from JavaScript that are not the same at each ` +
            `call (random numbers, a counter, a rate); make them an input.`,
        );
      }
    }
  });
  if (a.commands.length !== b.commands.length) {
    throw new CaptureError(differs(a.commands[b.commands.length]!.op));
  }
}

/** The buffers of two commands in pairs, if the commands are of one kind. */
function buffersOf(a: Command, b: Command): [GPUBuffer, GPUBuffer][] | null {
  if (a.kind === "copy") {
    if (b.kind !== "copy" || a.size !== b.size) return null;
    return [[a.source, b.source], [a.target, b.target]];
  }
  if (b.kind !== "dispatch" || a.pipeline !== b.pipeline) return null;
  if (a.workgroups.join() !== b.workgroups.join()) return null;
  return a.bindings.map(({ buffer }, i) => [buffer, b.bindings[i]!.buffer]);
}

function differs(op: string): string {
  return `The function does not do the same at each call, first at ${op}; all shapes and all ` +
    `choices must stay.`;
}

function areEqual(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (!a || !b) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
