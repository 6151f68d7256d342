/** Tensors of tfjs's own operations in the storage that the precision asks for. */
import { halfFactorOf } from "../backend/precision.ts";
import { copied } from "../backend/widen.ts";
import { tf } from "../tfjs.ts";
import { onTape } from "./lazy_gradient.ts";

/**
 * An activation that a step keeps for its backward pass, stored as those of our own kernels are.
 *
 * @param x float32 of any shape
 * @returns of x's shape, `x` itself where the precision is f32 or the backend has no f16;
 * differentiable
 */
export function stored<T extends tf.Tensor>(x: T): T {
  if (tf.getBackend() !== "webgpu" || halfFactorOf("activation") === undefined) return x;
  return onTape<T>({
    inputs: { x },
    forward: () => tf.engine().makeTensorFromTensorInfo(copied(x, "activation")) as T,
    backward: (dy) => ({ x: () => dy.clone() }),
  });
}
