import { tf } from "../tfjs.ts";
import { linear } from "../kernels/linear/linear.ts";
import {
  firstShape,
  glorotLimit,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/**
 * A dense layer without activation, `[..., dim]` to `[..., units]`.
 *
 * tfjs's own Dense would do but for its gradient: it multiplies by a transposed kernel, which
 * tfjs's WebGPU backend gets wrong for wide layers and small batches.
 */
export class Dense extends VitLayer {
  static readonly className = "VitDense";
  readonly units: number;
  private kernel!: tf.LayerVariable;
  private bias!: tf.LayerVariable;

  constructor(config: VitLayerConfig & { units: number }) {
    super(config);
    this.units = config.units;
  }

  override build(inputShape: InputShape): void {
    const from = firstShape(inputShape).at(-1)!;
    this.kernel = this.randomWeight("kernel", [from, this.units], glorotLimit(from, this.units));
    this.bias = this.constantWeight("bias", [this.units], 0);
    super.build(inputShape);
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return [...firstShape(inputShape).slice(0, -1), this.units];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [x] = inputAndResidual(inputs);
      return linear(x, this.kernel.read() as tf.Tensor2D, this.bias.read() as tf.Tensor1D);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), units: this.units };
  }
}
tf.serialization.registerClass(Dense);
