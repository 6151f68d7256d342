import { tf } from "../tfjs.ts";
import { linearChain } from "../kernels/linear/linear.ts";
import {
  type CallOptions,
  firstShape,
  glorotLimit,
  inputAndResidual,
  type InputShape,
  VitLayer,
} from "./layer.ts";

/**
 * Dense layers with exact GELU, each followed by dropout: a transformer block's MLP and the
 * classifier's hidden head are both this.
 *
 * Input `[..., dim]`, or the pair of it and a residual of the output's shape that is added after
 * the last dropout. Output `[..., units.at(-1)]`.
 */
export class Mlp extends VitLayer {
  static readonly className = "VitMlp";
  readonly units: number[];
  readonly dropoutRate: number;
  /** Share of images for which the branch is left out of its residual. */
  readonly dropPathRate: number;
  private kernels: tf.LayerVariable[] = [];
  private biases: tf.LayerVariable[] = [];

  constructor(
    config: {
      name?: string;
      seed?: number;
      units: number[];
      dropoutRate?: number;
      dropPathRate?: number;
    },
  ) {
    super(config);
    this.units = config.units;
    this.dropoutRate = config.dropoutRate ?? 0;
    this.dropPathRate = config.dropPathRate ?? 0;
  }

  override build(inputShape: InputShape): void {
    let from = firstShape(inputShape).at(-1)!;
    this.units.forEach((to, index) => {
      const limit = glorotLimit(from, to);
      this.kernels.push(this.uniformWeight(`${index}.kernel`, [from, to], limit));
      this.biases.push(this.constantWeight(`${index}.bias`, [to], 0));
      from = to;
    });
    super.build(inputShape);
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return [...firstShape(inputShape).slice(0, -1), this.units.at(-1)!];
  }

  override call(inputs: tf.Tensor | tf.Tensor[], options: CallOptions): tf.Tensor {
    return tf.tidy(() => {
      const [x, residual] = inputAndResidual(inputs);
      const layers = this.units.map((_, index) => ({
        kernel: this.kernels[index]!.read() as tf.Tensor2D,
        bias: this.biases[index]!.read() as tf.Tensor1D,
        activation: "gelu" as const,
        dropout: this.dropout(this.dropoutRate, String(index), options),
      }));
      const branch = (added?: tf.Tensor) => linearChain(x, layers, added);
      return this.withResidual(branch, residual, this.dropPathRate, options);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    const { units, dropoutRate, dropPathRate } = this;
    // As before it was there, so that saved models keep their bytes.
    return { ...super.getConfig(), units, dropoutRate, ...(dropPathRate > 0 && { dropPathRate }) };
  }
}
tf.serialization.registerClass(Mlp);
