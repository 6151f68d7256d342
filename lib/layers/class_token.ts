import { tf } from "../tfjs.ts";
import {
  firstShape,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/**
 * Takes the class token: `[batch, tokens, dim]` becomes `[batch, dim]`, the first token's; of
 * `count` tokens `[batch, count * dim]`, one after the other.
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
  /** Tokens that are taken, the class token first. */
  readonly count: number;

  /** Makes a layer from the number of tokens, 1 by default, and name. */
  constructor(config: VitLayerConfig & { count?: number }) {
    super(config);
    this.count = config.count ?? 1;
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, , dim] = firstShape(inputShape) as [number, number, number];
    return [batch, this.count * dim];
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [tokens] = inputAndResidual(inputs);
      const [batch, , dim] = tokens.shape as [number, number, number];
      const { count } = this;
      return tokens.slice([0, 0, 0], [batch, count, dim]).reshape([batch, count * dim]);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { count } = this;
    // Younger than 0.1.0, whose models keep their bytes.
    return { ...super.getConfig(), ...(count === 1 ? {} : { count }) };
  }
}
tf.serialization.registerClass(ClassToken);
