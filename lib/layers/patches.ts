import { stored } from "../kernels/stored.ts";
import { tf } from "../tfjs.ts";
import { firstShape, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/**
 * Cuts images into square patches.
 *
 * `[batch, size, size, channels]` becomes `[batch, tokens, patchSize * patchSize * channels]`;
 * patches row by row, pixels of a patch row by row, channels last.
 *
 * @example
 * ```ts
 * import { Patches, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const layer = new Patches({ patchSize: 4 });
 * const output = layer.apply(tf.zeros([2, 32, 32, 3])) as tf.Tensor;
 * console.log(output.shape); // [ 2, 64, 48 ]
 * ```
 */
export class Patches extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className: string = "VitPatches";
  /** Side of a patch in pixels. */
  readonly patchSize: number;

  /** Makes a layer from side of a patch, and name. */
  constructor(config: { name?: string; patchSize: number }) {
    super(config);
    this.patchSize = config.patchSize;
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, height, width, channels] = firstShape(inputShape) as number[];
    const tokens = (height! / this.patchSize) * (width! / this.patchSize);
    return [batch!, tokens, this.patchSize * this.patchSize * channels!];
  }

  /** Output for an input, alone or with its residual. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [images] = inputAndResidual(inputs);
      const [batch, height, width, channels] = images.shape as [number, number, number, number];
      const p = this.patchSize;
      const [rows, columns] = [height / p, width / p];
      const patches = images // b (rows p) (columns p) c
        .reshape([batch * rows, p, columns, p * channels]) // (b rows) p columns (p c)
        .transpose([0, 2, 1, 3]) // (b rows) columns p (p c)
        .reshape([batch, rows * columns, p * p * channels]); // b (rows columns) (p p c)
      return stored(patches);
    });
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), patchSize: this.patchSize };
  }
}
tf.serialization.registerClass(Patches);
