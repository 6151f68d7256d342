import { tf } from "../tfjs.ts";
import { linear } from "../kernels/linear/linear.ts";
import { firstShape, glorotLimit, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/** Keras's `uniform` initializer, which the example's position embedding uses. */
const EMBEDDING_LIMIT = 0.05;

/**
 * Projects flat patches to tokens and adds a learned position embedding.
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
export class PatchEncoder extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitPatchEncoder";
  /** Width of a token. */
  readonly projectionDim: number;
  /** Whether a learned token stands before the patches. */
  readonly classToken: boolean;
  private kernel!: tf.LayerVariable;
  private bias!: tf.LayerVariable;
  private positionEmbedding!: tf.LayerVariable;
  private token?: tf.LayerVariable;

  /**
   * Makes a layer from width of a token, whether a class token is added, name, and seed of the
   * initial weights.
   */
  constructor(
    config: { name?: string; seed?: number; projectionDim: number; classToken?: boolean },
  ) {
    super(config);
    this.projectionDim = config.projectionDim;
    this.classToken = config.classToken ?? false;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const [, patches, elements] = firstShape(inputShape) as [unknown, number, number];
    const dim = this.projectionDim;
    const tokens = patches + (this.classToken ? 1 : 0);
    const limit = glorotLimit(elements, dim);
    this.kernel = this.uniformWeight("projection.kernel", [elements, dim], limit);
    this.bias = this.constantWeight("projection.bias", [dim], 0);
    this.positionEmbedding = this.uniformWeight(
      "position_embedding",
      [tokens, dim],
      EMBEDDING_LIMIT,
    );
    if (this.classToken) {
      this.token = this.uniformWeight("class_token", [1, 1, dim], EMBEDDING_LIMIT);
    }
    super.build(inputShape);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, patches] = firstShape(inputShape) as [number, number];
    return [batch, patches + (this.classToken ? 1 : 0), this.projectionDim];
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [patches] = inputAndResidual(inputs);
      const kernel = this.kernel.read() as tf.Tensor2D;
      const bias = this.bias.read() as tf.Tensor1D;
      const position = this.positionEmbedding.read();
      if (!this.token) return linear(patches, kernel, bias, { residual: position });
      // Not tile, whose gradient takes one kernel a repetition.
      const token = tf.zeros([patches.shape[0]!, 1, 1]).add(this.token.read());
      return tf.concat([token, linear(patches, kernel, bias)], 1).add(position);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return {
      ...super.getConfig(),
      projectionDim: this.projectionDim,
      classToken: this.classToken,
    };
  }
}
tf.serialization.registerClass(PatchEncoder);
