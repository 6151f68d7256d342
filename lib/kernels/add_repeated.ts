/**
 * Adds one tensor to each of many, as positions are added to the tokens of each image. The sum is
 * tfjs's own; its gradient is added image after image in one pass, where tfjs first transposes.
 */
import type { tf } from "../tfjs.ts";
import { onTape } from "./lazy_gradient.ts";
import "./linear/kernels.ts";
import { runKernel } from "./register.ts";

/**
 * `x` plus `repeated`, repeated over x's leading axis.
 *
 * @param x float32 `[batch, ...]`
 * @param repeated float32 of x's shape without its first axis
 * @returns float32 of x's shape; differentiable with respect to both.
 * @throws {Error} when the shapes do not fit.
 */
export function addRepeated(x: tf.Tensor, repeated: tf.Tensor): tf.Tensor {
  const { shape } = repeated;
  if (x.size === 0 || `${x.shape.slice(1)}` !== `${shape}`) {
    throw new Error(`addRepeated cannot add [${shape}] to each of x [${x.shape}].`);
  }
  return onTape({
    inputs: { x, repeated },
    forward: () => x.add(repeated),
    backward: (dy) => ({
      x: () => dy.clone(),
      repeated: () => runKernel("VitSumLeading", { dy }, { shape })[0]!,
    }),
  });
}
