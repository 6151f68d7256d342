import { tf } from "../tfjs.ts";
import { firstShape, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/**
 * Takes the class token: `[batch, tokens, dim]` becomes `[batch, dim]`, the first token's.
 *
 * @example
 * ```ts
 * import { ClassToken, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new ClassToken({});
 * const output = layer.apply(tf.zeros([2, 65, 64])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 64 ]
 * ```
 */
export class ClassToken extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitClassToken";

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, , dim] = firstShape(inputShape) as [number, number, number];
    return [batch, dim];
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [tokens] = inputAndResidual(inputs);
      const [batch, , dim] = tokens.shape as [number, number, number];
      return tokens.slice([0, 0, 0], [batch, 1, dim]).reshape([batch, dim]);
    });
  }
}
tf.serialization.registerClass(ClassToken);
