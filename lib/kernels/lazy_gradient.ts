/**
 * Operations on tfjs's tape whose gradients are computed only where they are wanted.
 *
 * `tf.registerGradient` would make a gradient of zeros at every step for an output that only the
 * backward pass reads, and `tf.customGrad` computes the gradients of all inputs, wanted or not.
 */
import { engine } from "../backend/tfjs_internals.ts";
import { tf } from "../tfjs.ts";

/** An operation as the tape keeps it. */
export interface Operation<T extends tf.Tensor | tf.Tensor[]> {
  inputs: Record<string, tf.Tensor>;
  /** Computes the outputs; what it passes to `save` is given back to `backward`. */
  forward: (save: (tensors: tf.Tensor[]) => void) => T;
  /** From the outputs' gradients to one thunk for each input, by name. */
  backward: (dy: T, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
}

/** True while the tape is on, for gradients. */
export function isTapeOn(): boolean {
  return engine().isTapeOn();
}

/** The variables whose gradients are asked for; undefined for all. */
let asked: ReadonlySet<tf.Tensor> | undefined;

/** Computes with the gradients of these variables alone in mind; see {@linkcode wantsGradient}. */
export function askingFor<T>(variables: readonly tf.Variable[], fn: () => T): T {
  const before = asked;
  asked = new Set(variables);
  try {
    return fn();
  } finally {
    asked = before;
  }
}

/**
 * Whether the gradient of an operation's input may be asked for: not that of a variable which stays
 * as it is. For what is costly and computed outside of its thunk.
 */
export function wantsGradient(tensor: tf.Tensor): boolean {
  return asked === undefined || !(tensor instanceof tf.Variable) || asked.has(tensor);
}

/** Runs an operation and puts it on the tape. */
export function onTape<T extends tf.Tensor | tf.Tensor[]>(operation: Operation<T>): T {
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
