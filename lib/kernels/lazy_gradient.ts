/**
 * Operations on tfjs's tape whose gradients are computed only where they are wanted.
 *
 * `tf.registerGradient` would make a gradient of zeros at every step for an output that only the
 * backward pass reads, and `tf.customGrad` computes the gradients of all inputs, wanted or not.
 */
import { tf } from "../tfjs.ts";

/** An operation as the tape records it. */
export interface Operation<T extends tf.Tensor | tf.Tensor[]> {
  inputs: Record<string, tf.Tensor>;
  /** Computes the outputs; what it passes to `save` is given back to `backward`. */
  forward: (save: (tensors: tf.Tensor[]) => void) => T;
  /** From the outputs' gradients to one thunk for each input, by name. */
  backward: (dy: T, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
}

/** The private members of tfjs's engine that this needs. */
interface TapeEngine {
  isTapeOn(): boolean;
  runKernelFunc(invocation: {
    inputs: Record<string, tf.Tensor>;
    attrs: object;
    forwardFunc: (backend: unknown, save: (tensors: tf.Tensor[]) => void) => unknown;
    backwardsFunc: (dy: unknown, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
  }): unknown;
}

const engine = () => tf.engine() as unknown as TapeEngine;

/** True while gradients are recorded. */
export function isTapeOn(): boolean {
  return engine().isTapeOn();
}

/** Runs an operation and records it. */
export function record<T extends tf.Tensor | tf.Tensor[]>(operation: Operation<T>): T {
  let isList = false;
  return engine().runKernelFunc({
    inputs: operation.inputs,
    attrs: {},
    forwardFunc: (_backend, save) => {
      const outputs = operation.forward(save);
      isList = Array.isArray(outputs);
      return outputs;
    },
    // tfjs passes the gradient of a list of one output as a tensor.
    backwardsFunc: (dy, saved) => operation.backward((isList ? [dy].flat() : dy) as T, saved),
  }) as T;
}

/** Runs a kernel that is registered under `name`, leaving out inputs that are not there. */
export function runKernel(
  name: string,
  inputs: Record<string, tf.Tensor | null | undefined>,
  attrs: object = {},
): tf.Tensor[] {
  return tf.engine().runKernel(name, withoutNulls(inputs), attrs as tf.NamedAttrMap) as tf.Tensor[];
}

/** The entries that are there. */
export function withoutNulls<T>(tensors: Record<string, T | null | undefined>): Record<string, T> {
  const present: Record<string, T> = {};
  for (const name in tensors) {
    const tensor = tensors[name];
    if (tensor !== null && tensor !== undefined) present[name] = tensor;
  }
  return present;
}

/** Registers kernels that take and return lists of tensors, by name, for one backend. */
export function registerKernels(
  backendName: string,
  kernels: Record<string, (inputs: never, attrs: never) => unknown>,
): void {
  for (const [kernelName, run] of Object.entries(kernels)) {
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) =>
        run(inputs as never, attrs as never) as ReturnType<tf.KernelFunc>,
    });
  }
}
