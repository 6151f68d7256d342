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
 *
 * @example
 * ```ts
 * import { Dense, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new Dense({ units: 10 });
 * const output = layer.apply(tf.zeros([2, 64])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 10 ]
 * ```
 */
export class Dense extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitDense";
  /** Width of the output. */
  readonly units: number;
  private kernel!: tf.LayerVariable;
  private bias!: tf.LayerVariable;

  /** Makes a layer from width, name, and seed of the initial weights. */
  constructor(config: VitLayerConfig & { units: number }) {
    super(config);
    this.units = config.units;
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const from = firstShape(inputShape).at(-1)!;
    this.kernel = this.randomWeight("kernel", [from, this.units], glorotLimit(from, this.units));
    this.bias = this.constantWeight("bias", [this.units], 0);
    super.build(inputShape);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return [...firstShape(inputShape).slice(0, -1), this.units];
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [x] = inputAndResidual(inputs);
      return linear(x, this.kernel.read() as tf.Tensor2D, this.bias.read() as tf.Tensor1D);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), units: this.units };
  }
}
tf.serialization.registerClass(Dense);
