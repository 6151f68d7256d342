import { tf } from "../tfjs.ts";
import { attention } from "../kernels/attention/attention.ts";
import { attentionWeights } from "../kernels/attention/plain.ts";
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

/** One projection of the attention: its kernel and its bias, where it has one. */
interface Projection {
  kernel: tf.LayerVariable;
  bias?: tf.LayerVariable;
  /** LoRA's A and B. */
  adapter?: { a: tf.LayerVariable; b: tf.LayerVariable };
}

/** Low-rank adaptation of queries and values; see lora.ts of `lib/models/`. */
export interface AdapterConfig {
  /** Columns of A and rows of B. */
  rank: number;
  /** What A @ B is multiplied by. */
  scale: number;
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
  /** Whether queries, keys and values have biases. */
  readonly qkvBias: boolean;
  /** Low-rank adaptation, where it has one. */
  readonly adapter?: AdapterConfig;
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
      qkvBias?: boolean;
      adapter?: AdapterConfig;
    },
  ) {
    super(config);
    this.numHeads = config.numHeads;
    this.keyDim = config.keyDim;
    this.dropoutRate = config.dropoutRate ?? 0;
    this.dropPathRate = config.dropPathRate ?? 0;
    this.layerScale = config.layerScale ?? 0;
    this.locality = config.locality ?? false;
    this.qkvBias = config.qkvBias ?? true;
    this.adapter = config.adapter;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const dim = firstShape(inputShape).at(-1)!;
    const { numHeads, keyDim } = this;
    const inner = numHeads * keyDim;
    const inLimit = Math.sqrt(6 / (numHeads * dim + keyDim * dim));
    const outLimit = Math.sqrt(6 / (keyDim * numHeads + dim * numHeads));
    const { qkvBias } = this;
    this.query = this.projection("query", dim, inner, inLimit, qkvBias);
    this.key = this.projection("key", dim, inner, inLimit, qkvBias);
    this.value = this.projection("value", dim, inner, inLimit, qkvBias);
    this.output_ = this.projection("output", inner, dim, outLimit, true);
    if (this.locality) this.scale = this.constantWeight("scale", [numHeads], 1);
    this.gamma = this.layerScaleWeight(dim, this.layerScale);
    if (this.adapter) {
      const { rank } = this.adapter;
      for (const [name, projection] of [["query", this.query], ["value", this.value]] as const) {
        projection.adapter = {
          a: this.uniformWeight(`${name}.lora_a`, [dim, rank], 1 / Math.sqrt(dim)),
          b: this.constantWeight(`${name}.lora_b`, [rank, inner], 0),
        };
      }
    }
    super.build(inputShape);
  }

  /** Weights of one projection. */
  private projection(
    name: string,
    from: number,
    to: number,
    limit: number,
    hasBias: boolean,
  ): Projection {
    return {
      kernel: this.randomWeight(`${name}.kernel`, [from, to], limit),
      bias: hasBias ? this.constantWeight(`${name}.bias`, [to], 0) : undefined,
    };
  }

  /** The kernel of a projection, `[dim, heads * keyDim]`, with what LoRA adds. */
  private kernelOf({ kernel, adapter }: Projection): tf.Tensor2D {
    const plain = kernel.read() as tf.Tensor2D;
    if (!adapter) return plain;
    const { scale } = this.adapter!;
    const a = adapter.a.read();
    return linear(scale === 1 ? a : a.mul(scale), adapter.b.read() as tf.Tensor2D, null, {
      residual: plain,
    }) as tf.Tensor2D;
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
        projections.map((projection) => this.kernelOf(projection)),
        projections.flatMap(({ bias }) => bias ? [bias.read() as tf.Tensor1D] : []),
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
        linear(attended, kernel.read() as tf.Tensor2D, bias!.read() as tf.Tensor1D, {
          residual: added,
        });
      const joint = { rate: this.dropPathRate, gamma: this.gamma };
      return this.withResidual(branch, residual, joint, options);
    });
  }

  /**
   * The weights by which each token takes in the others, for a person to look at.
   *
   * @param x float32 `[batch, tokens, dim]`, what the layer is applied to.
   * @returns float32 `[batch, heads, tokens, tokens]`; rows sum to 1.
   */
  attentionWeights(x: tf.Tensor3D): tf.Tensor4D {
    return tf.tidy(() => {
      const [query, key] = [this.query, this.key].map((projection) => {
        const { bias } = projection;
        return linear(x, this.kernelOf(projection), bias ? bias.read() as tf.Tensor1D : null);
      }) as [tf.Tensor3D, tf.Tensor3D];
      const scaled = this.scale ? scaleChannels(query, this.scale.read() as tf.Tensor1D) : query;
      const { numHeads, locality: maskDiagonal } = this;
      return attentionWeights(scaled, key, { numHeads, maskDiagonal });
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { numHeads, keyDim, dropoutRate, dropPathRate, layerScale, locality, qkvBias, adapter } =
      this;
    // Younger than 0.1.0, whose models keep their bytes.
    const younger: tf.serialization.ConfigDict = {
      ...(dropPathRate > 0 && { dropPathRate }),
      ...(layerScale > 0 && { layerScale }),
      ...(locality && { locality }),
      ...(qkvBias ? {} : { qkvBias }),
      ...(adapter && { adapter: { ...adapter } }),
    };
    return { ...super.getConfig(), numHeads, keyDim, dropoutRate, ...younger };
  }
}
tf.serialization.registerClass(MultiHeadAttention);
