import { tf } from "../tfjs.ts";
import { firstShape, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/**
 * Cuts images into square patches.
 *
 * `[batch, size, size, channels]` becomes `[batch, tokens, patchSize * patchSize * channels]`;
 * patches row by row, pixels of a patch row by row, channels last.
 */
export class Patches extends VitLayer {
  static readonly className = "VitPatches";
  readonly patchSize: number;

  constructor(config: { name?: string; patchSize: number }) {
    super(config);
    this.patchSize = config.patchSize;
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, height, width, channels] = firstShape(inputShape) as number[];
    const tokens = (height! / this.patchSize) * (width! / this.patchSize);
    return [batch!, tokens, this.patchSize * this.patchSize * channels!];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [images] = inputAndResidual(inputs);
      const [batch, height, width, channels] = images.shape as [number, number, number, number];
      const p = this.patchSize;
      const [rows, columns] = [height / p, width / p];
      return images // b (rows p) (columns p) c
        .reshape([batch * rows, p, columns, p * channels]) // (b rows) p columns (p c)
        .transpose([0, 2, 1, 3]) // (b rows) columns p (p c)
        .reshape([batch, rows * columns, p * p * channels]); // b (rows columns) (p p c)
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), patchSize: this.patchSize };
  }
}
tf.serialization.registerClass(Patches);
