import { tf } from "../tfjs.ts";
import { layerNorm } from "../kernels/layer_norm.ts";
import { firstShape, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/**
 * Layer normalization over the last axis (Ba et al., 2016), shape unchanged.
 *
 * tfjs-layers has a layer of this name; this one is a fused kernel instead of a dozen operations
 * on full-size temporaries.
 */
export class LayerNormalization extends VitLayer {
  static readonly className = "VitLayerNormalization";
  readonly epsilon: number;
  private gamma!: tf.LayerVariable;
  private beta!: tf.LayerVariable;

  constructor(config: { name?: string; epsilon?: number }) {
    super(config);
    this.epsilon = config.epsilon ?? 1e-6;
  }

  override build(inputShape: InputShape): void {
    const dim = firstShape(inputShape).at(-1)!;
    this.gamma = this.constantWeight("gamma", [dim], 1);
    this.beta = this.constantWeight("beta", [dim], 0);
    super.build(inputShape);
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return firstShape(inputShape);
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [x] = inputAndResidual(inputs);
      const gamma = this.gamma.read() as tf.Tensor1D;
      const beta = this.beta.read() as tf.Tensor1D;
      return layerNorm(x, gamma, beta, this.epsilon);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), epsilon: this.epsilon };
  }
}
tf.serialization.registerClass(LayerNormalization);
