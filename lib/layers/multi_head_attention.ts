import { tf } from "../tfjs.ts";
import { attention } from "../kernels/attention/attention.ts";
import { linear } from "../kernels/linear/linear.ts";
import { parallelLinear } from "../kernels/linear/parallel_linear.ts";
import { scaleChannels } from "../kernels/scale_channels.ts";
import {
  type BranchConfig,
  type CallOptions,
  firstShape,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/** One projection of the attention: its kernel and its bias. */
interface Projection {
  kernel: tf.LayerVariable;
  bias: tf.LayerVariable;
}

/**
 * Multi-head self-attention (Vaswani et al., 2017), as `keras.layers.MultiHeadAttention` does it.
 *
 * Input `[batch, tokens, dim]`, or the pair of it and a residual of the same shape that is added
 * to the output. Queries are scaled by 1/sqrt(keyDim); dropout falls on the attention weights.
 * Kernels start as in Keras, which holds them in three dimensions and so takes a convolution's
 * fans.
 *
 * With `locality` it is locality self-attention (Lee et al., 2021, "Vision Transformer for Small-Size
 * Datasets"): no token attends to itself, and the temperature of each head's softmax is learned. Its
 * weight `scale` `[heads]` multiplies the queries and begins at 1; sqrt(keyDim) / scale is what the
 * paper calls the temperature, here without a division.
 *
 * @example
 * ```ts
 * import { MultiHeadAttention, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new MultiHeadAttention({ numHeads: 4, keyDim: 16 });
 * const output = layer.apply(tf.zeros([2, 65, 64])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 65, 64 ]
 * ```
 */
export class MultiHeadAttention extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitMultiHeadAttention";
  /** Number of heads. */
  readonly numHeads: number;
  /** Width of one head. */
  readonly keyDim: number;
  /** Dropout in training, 0 to below 1. */
  readonly dropoutRate: number;
  /** Share of images for which the branch is left out of its residual. */
  readonly dropPathRate: number;
  /** Where LayerScale's factors begin; 0 for none. */
  readonly layerScale: number;
  /** Whether the diagonal is masked and the temperature learned. */
  readonly locality: boolean;
  private query!: Projection;
  private key!: Projection;
  private value!: Projection;
  private output_!: Projection;
  private scale?: tf.LayerVariable;
  private gamma?: tf.LayerVariable;

  /** Makes a layer from heads, their width, dropout, name, and seed of the initial weights. */
  constructor(
    config: VitLayerConfig & BranchConfig & {
      numHeads: number;
      keyDim: number;
      dropoutRate?: number;
      locality?: boolean;
    },
  ) {
    super(config);
    this.numHeads = config.numHeads;
    this.keyDim = config.keyDim;
    this.dropoutRate = config.dropoutRate ?? 0;
    this.dropPathRate = config.dropPathRate ?? 0;
    this.layerScale = config.layerScale ?? 0;
    this.locality = config.locality ?? false;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const dim = firstShape(inputShape).at(-1)!;
    const { numHeads, keyDim } = this;
    const inner = numHeads * keyDim;
    const inLimit = Math.sqrt(6 / (numHeads * dim + keyDim * dim));
    const outLimit = Math.sqrt(6 / (keyDim * numHeads + dim * numHeads));
    this.query = this.projection("query", dim, inner, inLimit);
    this.key = this.projection("key", dim, inner, inLimit);
    this.value = this.projection("value", dim, inner, inLimit);
    this.output_ = this.projection("output", inner, dim, outLimit);
    if (this.locality) this.scale = this.constantWeight("scale", [numHeads], 1);
    this.gamma = this.layerScaleWeight(dim, this.layerScale);
    super.build(inputShape);
  }

  /** Weights of one projection. */
  private projection(name: string, from: number, to: number, limit: number): Projection {
    return {
      kernel: this.randomWeight(`${name}.kernel`, [from, to], limit),
      bias: this.constantWeight(`${name}.bias`, [to], 0),
    };
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return firstShape(inputShape);
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[], options: CallOptions): tf.Tensor {
    return tf.tidy(() => {
      // b n d, with h heads of width k
      const [x, residual] = inputAndResidual(inputs);
      const projections = [this.query, this.key, this.value];
      // b n d -> b n (h k), three times
      const [query, key, value] = parallelLinear(
        x,
        projections.map(({ kernel }) => kernel.read() as tf.Tensor2D),
        projections.map(({ bias }) => bias.read() as tf.Tensor1D),
      ) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
      // b h n n within the kernel
      const scaled = this.scale ? scaleChannels(query, this.scale.read() as tf.Tensor1D) : query;
      const attended = attention(scaled, key, value, {
        numHeads: this.numHeads,
        maskDiagonal: this.locality,
        dropout: this.dropout(this.dropoutRate, "weights", options),
      });
      const { kernel, bias } = this.output_;
      // b n (h k) -> b n d
      const branch = (added?: tf.Tensor) =>
        linear(attended, kernel.read() as tf.Tensor2D, bias.read() as tf.Tensor1D, {
          residual: added,
        });
      const joint = { rate: this.dropPathRate, gamma: this.gamma };
      return this.withResidual(branch, residual, joint, options);
    });
  }

  /**
   * Attention weights for an input `[batch, tokens, dim]`, without dropout: what the kernel of
   * {@linkcode call} keeps to itself, computed plainly for people to look at.
   * @returns `[batch, heads, tokens, tokens]`; each row, of a token that looks, adds up to 1
   */
  attentionWeights(x: tf.Tensor3D): tf.Tensor4D {
    return tf.tidy(() => {
      const [batch, tokens] = x.shape;
      const { numHeads, keyDim } = this;
      const projected = ({ kernel, bias }: Projection) =>
        linear(x, kernel.read() as tf.Tensor2D, bias.read() as tf.Tensor1D);
      // b n (h k) -> b h n k
      const byHead = (values: tf.Tensor) =>
        values.reshape<tf.Tensor4D>([batch, tokens, numHeads, keyDim]).transpose([0, 2, 1, 3]);
      const query = projected(this.query);
      const scaled = this.scale ? scaleChannels(query, this.scale.read() as tf.Tensor1D) : query;
      // b h n n
      const scores = tf.matMul(byHead(scaled), byHead(projected(this.key)), false, true)
        .div(Math.sqrt(keyDim));
      const masked = this.locality ? scores.sub(tf.eye(tokens).mul(1e9)) : scores;
      return tf.softmax(masked) as tf.Tensor4D;
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { numHeads, keyDim, dropoutRate, dropPathRate, layerScale, locality } = this;
    // Younger than 0.1.0, whose models keep their bytes.
    const younger: tf.serialization.ConfigDict = {
      ...(dropPathRate > 0 && { dropPathRate }),
      ...(layerScale > 0 && { layerScale }),
      ...(locality && { locality }),
    };
    return { ...super.getConfig(), numHeads, keyDim, dropoutRate, ...younger };
  }
}
tf.serialization.registerClass(MultiHeadAttention);
