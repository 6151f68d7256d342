import { tf } from "../tfjs.ts";
import { linear } from "../kernels/linear/linear.ts";
import { firstShape, glorotLimit, inputAndResidual, type InputShape } from "./layer.ts";
import { TokenEncoder, type TokenEncoderConfig } from "./token_encoder.ts";

/**
 * Projects flat patches to tokens and adds positions, as {@linkcode TokenEncoder} does.
 *
 * `[batch, patches, elements]` becomes `[batch, tokens, projectionDim]`; with `classToken` a
 * learned token is put before the patches, so that tokens = patches + 1.
 *
 * @example
 * ```ts
 * import { PatchEncoder, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new PatchEncoder({ projectionDim: 64, classToken: true });
 * const output = layer.apply(tf.zeros([2, 64, 48])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 65, 64 ]
 * ```
 */
export class PatchEncoder extends TokenEncoder {
  /** Name of the class in stored models. */
  static override readonly className = "VitPatchEncoder";
  /** Width of a token. */
  readonly projectionDim: number;
  private kernel!: tf.LayerVariable;
  private bias!: tf.LayerVariable;

  /**
   * Makes a layer from width of a token, whether a class token is added, name, and seed of the
   * initial weights.
   */
  constructor(config: TokenEncoderConfig & { projectionDim: number }) {
    super(config);
    this.projectionDim = config.projectionDim;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const [, patches, elements] = firstShape(inputShape) as [unknown, number, number];
    const dim = this.projectionDim;
    const limit = glorotLimit(elements, dim);
    this.kernel = this.randomWeight("projection.kernel", [elements, dim], limit);
    this.bias = this.constantWeight("projection.bias", [dim], 0);
    super.build([null, patches, dim]);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, patches] = firstShape(inputShape) as [number, number];
    return super.computeOutputShape([batch, patches, this.projectionDim]);
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [patches] = inputAndResidual(inputs);
      const kernel = this.kernel.read() as tf.Tensor2D;
      const bias = this.bias.read() as tf.Tensor1D;
      if (this.classToken || this.distillationToken) {
        return this.encode(linear(patches, kernel, bias));
      }
      // One kernel adds them where it has the token in hand.
      return linear(patches, kernel, bias, { residual: this.positions });
    });
  }

  /** As release 0.1.0 does it, whose runs go on to the same bytes: tfjs sums the gradient otherwise. */
  protected override placed(tokens: tf.Tensor, positions: tf.Tensor): tf.Tensor {
    return tokens.add(positions);
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { projectionDim, classToken } = this;
    const { classToken: _, positionEmbedding, distillationToken, ...base } = super.getConfig();
    // In this order, which files of release 0.1.0 have.
    const younger: tf.serialization.ConfigDict = {
      ...(positionEmbedding === undefined ? {} : { positionEmbedding }),
      ...(distillationToken === undefined ? {} : { distillationToken }),
    };
    return { ...base, projectionDim, classToken, ...younger };
  }
}
tf.serialization.registerClass(PatchEncoder);
