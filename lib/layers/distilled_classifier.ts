import { linear } from "../kernels/linear/linear.ts";
import { tf } from "../tfjs.ts";
import {
  firstShape,
  glorotLimit,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/** The names of a classifier's weights: that of the class token, that of the distillation token. */
const scopes = ["", "distillation."] as const;

/**
 * DeiT's two classifiers (Touvron et al., 2020): `[batch, 2 * dim]`, class token and distillation token
 * side by side, becomes `[batch, units]`, the mean of the logits of both.
 */
export class DistilledClassifier extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitDistilledClassifier";
  /** Classes. */
  readonly units: number;
  private heads: { kernel: tf.LayerVariable; bias: tf.LayerVariable }[] = [];

  /** Makes a layer from the number of classes, name, and seed of the initial weights. */
  constructor(config: VitLayerConfig & { units: number }) {
    super(config);
    this.units = config.units;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const dim = firstShape(inputShape).at(-1)! / scopes.length;
    const { units } = this;
    this.heads = scopes.map((scope) => ({
      kernel: this.randomWeight(`${scope}kernel`, [dim, units], glorotLimit(dim, units)),
      bias: this.constantWeight(`${scope}bias`, [units], 0),
    }));
    super.build(inputShape);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return [...firstShape(inputShape).slice(0, -1), this.units];
  }

  /** Output for an input. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [x] = inputAndResidual(inputs);
      const [batch, width] = x.shape as [number, number];
      const dim = width / scopes.length;
      const logits = this.heads.map(({ kernel, bias }, i) =>
        linear(
          x.slice([0, i * dim], [batch, dim]),
          kernel.read() as tf.Tensor2D,
          bias.read() as tf.Tensor1D,
        )
      );
      return tf.add(logits[0]!, logits[1]!).mul(0.5);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), units: this.units };
  }
}
tf.serialization.registerClass(DistilledClassifier);
