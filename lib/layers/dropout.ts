import { tf } from "../tfjs.ts";
import { dropout } from "../kernels/dropout.ts";
import {
  type CallOptions,
  firstShape,
  inputAndResidual,
  type InputShape,
  VitLayer,
} from "./layer.ts";

/**
 * Dropout (Srivastava et al., 2014), shape unchanged; the identity outside training.
 *
 * tfjs's own draws every number in a JavaScript loop and uploads it; this one computes the mask
 * where the tensor is, from (seed, layer, step, index).
 *
 * @example
 * ```ts
 * import { Dropout, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new Dropout({ rate: 0.1 });
 * const output = layer.apply(tf.zeros([2, 64])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 64 ]
 * ```
 */
export class Dropout extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitDropout";
  /** Share of the elements that are dropped, 0 to below 1. */
  readonly rate: number;

  /** Makes a layer from rate, name and seed. */
  constructor(config: { name?: string; seed?: number; rate: number }) {
    super(config);
    this.rate = config.rate;
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return firstShape(inputShape);
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[], options: CallOptions): tf.Tensor {
    return tf.tidy(() => {
      const [x] = inputAndResidual(inputs);
      const active = this.dropout(this.rate, "mask", options);
      return active ? dropout(x, active) : x.clone();
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), rate: this.rate };
  }
}
tf.serialization.registerClass(Dropout);
