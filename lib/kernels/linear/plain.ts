/** Dense layers of tfjs's own operations. */
import { tf } from "../../tfjs.ts";
import { CUBIC, SQRT_2_OVER_PI } from "../gelu.ts";

/** Steps after the product and the bias. */
interface PlainOptions {
  /** GELU, the exact one or that by tanh. */
  gelu?: boolean | "tanh";
  /** y's size, or a whole part of it that repeats. */
  residual?: tf.Tensor;
}

/** y = residual + activation(x @ kernel + bias), `[rows, columns]` of x `[…, inner]`. */
export function plainLinear(
  x: tf.Tensor,
  kernel: tf.Tensor,
  bias: tf.Tensor | undefined,
  { gelu, residual }: PlainOptions = {},
): tf.Tensor {
  const [inner, columns] = kernel.shape as [number, number];
  const product = tf.matMul(x.reshape([-1, inner]), kernel as tf.Tensor2D);
  const z = bias ? product.add(bias) : product;
  const y = gelu ? z.mul(gelu === "tanh" ? plainTanhCdf(z) : normalCdf(z)) : z;
  if (!residual) return y;
  return y.reshape([-1, ...residual.shape]).add(residual).reshape([-1, columns]);
}

const normalCdf = (z: tf.Tensor) => tf.erf(z.mul(Math.SQRT1_2)).add(1).mul(0.5);

/** {@linkcode tanhCdf} of a tensor: the logistic function of twice the same. */
const plainTanhCdf = (z: tf.Tensor) =>
  tf.sigmoid(z.add(z.square().mul(z).mul(CUBIC)).mul(2 * SQRT_2_OVER_PI));
