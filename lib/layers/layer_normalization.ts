import { tf } from "../tfjs.ts";
import { layerNorm, layerNormResidual } from "../kernels/layer_norm/layer_norm.ts";
import {
  type CallOptions,
  firstShape,
  type GivenWeights,
  inputAndResidual,
  type InputShape,
  VitLayer,
} from "./layer.ts";

/**
 * Layer normalization over the last axis (Ba et al., 2016), shape unchanged.
 *
 * tfjs-layers has a layer of this name; this one is a fused kernel instead of a dozen operations
 * on full-size temporaries. With `residual` its output is the pair `[normed, residual]`, where the
 * residual is the input: what a pre-norm residual branch needs, so that in the backward pass the
 * two gradients meet here instead of in an addition of their own.
 *
 * @example
 * ```ts
 * import { LayerNormalization, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new LayerNormalization({});
 * const output = layer.apply(tf.zeros([2, 65, 64])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 65, 64 ]
 * ```
 */
export class LayerNormalization extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitLayerNormalization";
  /** Added to the variance. */
  readonly epsilon: number;
  /** Whether the input is passed on beside the normalized one. */
  readonly residual: boolean;
  private gamma!: tf.LayerVariable;
  private beta!: tf.LayerVariable;
  /**
   * A model of tfjs calls a layer once for each of its outputs, with the same input and the same
   * options. The pair that the first call made waits here for the second.
   */
  private readonly unclaimed = new WeakMap<object, { x: tf.Tensor; pair: tf.Tensor[] }>();

  /** Makes a layer from epsilon (1e-6 by default), whether the residual is passed on, and name. */
  constructor(
    config: { name?: string; epsilon?: number; residual?: boolean; given?: GivenWeights },
  ) {
    super(config);
    this.epsilon = config.epsilon ?? 1e-6;
    this.residual = config.residual ?? false;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const dim = firstShape(inputShape).at(-1)!;
    this.gamma = this.constantWeight("gamma", [dim], 1);
    this.beta = this.constantWeight("beta", [dim], 0);
    super.build(inputShape);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): InputShape {
    const shape = firstShape(inputShape);
    return this.residual ? [shape, shape] : shape;
  }

  /** Output for an input, alone or with its residual. */
  override call(
    inputs: tf.Tensor | tf.Tensor[],
    options: CallOptions = {},
  ): tf.Tensor | tf.Tensor[] {
    return tf.tidy(() => {
      const [x] = inputAndResidual(inputs);
      const gamma = this.gamma.read() as tf.Tensor1D;
      const beta = this.beta.read() as tf.Tensor1D;
      if (!this.residual) return layerNorm(x, gamma, beta, this.epsilon);
      const made = this.unclaimed.get(options);
      this.unclaimed.delete(options);
      if (made?.x === x && made.pair.every(({ isDisposed }) => !isDisposed)) return made.pair;
      const pair = layerNormResidual(x, gamma, beta, this.epsilon);
      this.unclaimed.set(options, { x, pair });
      return pair;
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), epsilon: this.epsilon, residual: this.residual };
  }
}
tf.serialization.registerClass(LayerNormalization);
