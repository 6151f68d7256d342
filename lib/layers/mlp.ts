import { tf } from "../tfjs.ts";
import { linearChain } from "../kernels/linear/linear.ts";
import {
  type BranchConfig,
  type CallOptions,
  firstShape,
  type GeluForm,
  glorotLimit,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";

/**
 * Dense layers with GELU (the last one with it or without), each followed by dropout: a transformer
 * block's MLP and the classifier's hidden head are both this.
 *
 * Input `[..., dim]`, or the pair of it and a residual of the output's shape that is added after
 * the last dropout. Output `[..., units.at(-1)]`.
 *
 * @example
 * ```ts
 * import { Mlp, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new Mlp({ units: [128, 64] });
 * const output = layer.apply(tf.zeros([2, 65, 64])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 65, 64 ]
 * ```
 */
export class Mlp extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className = "VitMlp";
  /** Widths of the dense layers in order. */
  readonly units: number[];
  /** Dropout in training, 0 to below 1. */
  readonly dropoutRate: number;
  /** Share of images for which the branch is left out of its residual. */
  readonly dropPathRate: number;
  /** Where LayerScale's factors begin; 0 for none. */
  readonly layerScale: number;
  /** Whether GELU follows the last layer too, as in the Keras example; the ViT paper has none. */
  readonly lastActivation: boolean;
  /** Form of GELU. */
  readonly gelu: GeluForm;
  private kernels: tf.LayerVariable[] = [];
  private biases: tf.LayerVariable[] = [];
  private gamma?: tf.LayerVariable;

  /** Makes a layer from widths, dropout, name, and seed of the initial weights. */
  constructor(
    config: VitLayerConfig & BranchConfig & {
      units: number[];
      dropoutRate?: number;
      lastActivation?: boolean;
      gelu?: GeluForm;
    },
  ) {
    super(config);
    this.units = config.units;
    this.dropoutRate = config.dropoutRate ?? 0;
    this.dropPathRate = config.dropPathRate ?? 0;
    this.layerScale = config.layerScale ?? 0;
    this.lastActivation = config.lastActivation ?? true;
    this.gelu = config.gelu ?? "exact";
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    let from = firstShape(inputShape).at(-1)!;
    this.units.forEach((to, index) => {
      const limit = glorotLimit(from, to);
      this.kernels.push(this.randomWeight(`${index}.kernel`, [from, to], limit));
      this.biases.push(this.constantWeight(`${index}.bias`, [to], 0));
      from = to;
    });
    this.gamma = this.layerScaleWeight(from, this.layerScale);
    super.build(inputShape);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    return [...firstShape(inputShape).slice(0, -1), this.units.at(-1)!];
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[], options: CallOptions): tf.Tensor {
    return tf.tidy(() => {
      const [x, residual] = inputAndResidual(inputs);
      const activated = this.units.length - (this.lastActivation ? 0 : 1);
      const activation = this.gelu === "tanh" ? "geluTanh" as const : "gelu" as const;
      const layers = this.units.map((_, index) => ({
        kernel: this.kernels[index]!.read() as tf.Tensor2D,
        bias: this.biases[index]!.read() as tf.Tensor1D,
        activation: index < activated ? activation : undefined,
        dropout: this.dropout(this.dropoutRate, String(index), options),
      }));
      const branch = (added?: tf.Tensor) => linearChain(x, layers, added);
      const joint = { rate: this.dropPathRate, gamma: this.gamma };
      return this.withResidual(branch, residual, joint, options);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { units, dropoutRate, dropPathRate, layerScale, lastActivation, gelu } = this;
    // Younger than 0.1.0, whose models keep their bytes.
    const younger: tf.serialization.ConfigDict = {
      ...(dropPathRate > 0 && { dropPathRate }),
      ...(layerScale > 0 && { layerScale }),
      ...(lastActivation ? {} : { lastActivation }),
      ...(gelu === "exact" ? {} : { gelu }),
    };
    return { ...super.getConfig(), units, dropoutRate, ...younger };
  }
}
tf.serialization.registerClass(Mlp);
