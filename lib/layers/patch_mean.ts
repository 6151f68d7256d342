import { tf } from "../tfjs.ts";
import {
  firstShape,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/**
 * The mean of the patches' tokens without the learned ones before them: `[batch, tokens, dim]` becomes
 * `[batch, dim]`, as timm's `global_pool="avg"` has it.
 */
export class PatchMean extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitPatchMean";
  /** Learned tokens that are left out. */
  readonly prefix: number;

  /** Makes a layer from the number of learned tokens, and name. */
  constructor(config: VitLayerConfig & { prefix: number }) {
    super(config);
    this.prefix = config.prefix;
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, , dim] = firstShape(inputShape) as [number, number, number];
    return [batch, dim];
  }

  /** Output for an input. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [tokens] = inputAndResidual(inputs);
      const [batch, count, dim] = tokens.shape as [number, number, number];
      const { prefix } = this;
      return tf.mean(tokens.slice([0, prefix, 0], [batch, count - prefix, dim]), 1);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), prefix: this.prefix };
  }
}
tf.serialization.registerClass(PatchMean);
