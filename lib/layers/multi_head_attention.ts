import { tf } from "../tfjs.ts";
import { attention } from "../kernels/attention/attention.ts";
import { linear } from "../kernels/linear/linear.ts";
import { parallelLinear } from "../kernels/linear/parallel_linear.ts";
import {
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
 * Kernels start as in Keras, which holds them in three dimensions and so takes a convolution's fans.
 */
export class MultiHeadAttention extends VitLayer {
  static readonly className = "VitMultiHeadAttention";
  readonly numHeads: number;
  readonly keyDim: number;
  readonly dropoutRate: number;
  private query!: Projection;
  private key!: Projection;
  private value!: Projection;
  private output_!: Projection;

  constructor(
    config: VitLayerConfig & { numHeads: number; keyDim: number; dropoutRate?: number },
  ) {
    super(config);
    this.numHeads = config.numHeads;
    this.keyDim = config.keyDim;
    this.dropoutRate = config.dropoutRate ?? 0;
  }

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
    super.build(inputShape);
  }

  private projection(name: string, from: number, to: number, limit: number): Projection {
    return {
      kernel: this.randomWeight(`${name}.kernel`, [from, to], limit),
      bias: this.constantWeight(`${name}.bias`, [to], 0),
    };
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return firstShape(inputShape);
  }

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
      const attended = attention(query, key, value, {
        numHeads: this.numHeads,
        dropout: this.dropout(this.dropoutRate, "weights", options),
      });
      const { kernel, bias } = this.output_;
      // b n (h k) -> b n d
      return linear(attended, kernel.read() as tf.Tensor2D, bias.read() as tf.Tensor1D, {
        residual,
      });
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    const { numHeads, keyDim, dropoutRate } = this;
    return { ...super.getConfig(), numHeads, keyDim, dropoutRate };
  }
}
tf.serialization.registerClass(MultiHeadAttention);
