import { tf } from "../tfjs.ts";
import { convTokens } from "../kernels/conv_tokens/conv_tokens.ts";
import {
  firstShape,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/**
 * The convolutional tokenizer of compact transformers (Hassani et al., 2021): for each number of
 * `filters` a 3x3 convolution without bias, relu, and 3x3 max pooling with stride 2.
 *
 * `[batch, size, size, channels]` becomes `[batch, tokens, filters.at(-1)]`, row by row; each stage
 * halves the sides, rounded up. Kernels `[3, 3, in, out]` begin He-normal (He et al., 2015), of
 * deviation sqrt(2 / (9 * in)), whatever the initializer of the rest.
 */
export class ConvTokenizer extends VitLayer {
  static readonly className = "VitConvTokenizer";
  readonly filters: number[];
  private kernels: tf.LayerVariable[] = [];

  constructor(config: VitLayerConfig & { filters: number[] }) {
    super(config);
    this.filters = config.filters;
  }

  override build(inputShape: InputShape): void {
    let channels = firstShape(inputShape)[3]!;
    this.kernels = this.filters.map((filters, stage) => {
      const deviation = Math.sqrt(2 / (9 * channels));
      // No model's first weight may begin with a digit: tfjs would load its file as one of Keras 3.
      const name = `stages.${stage}.kernel`;
      const kernel = this.normalWeight(name, [3, 3, channels, filters], deviation);
      channels = filters;
      return kernel;
    });
    super.build(inputShape);
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, height, width] = firstShape(inputShape) as [number, number, number];
    const after = (side: number) => this.filters.reduce((left) => Math.ceil(left / 2), side);
    return [batch, after(height) * after(width), this.filters.at(-1)!];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [images] = inputAndResidual(inputs);
      const kernels = this.kernels.map((kernel) => kernel.read() as tf.Tensor4D);
      return convTokens(images as tf.Tensor4D, kernels);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), filters: this.filters };
  }
}
tf.serialization.registerClass(ConvTokenizer);
