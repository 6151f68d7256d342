import { tf } from "../tfjs.ts";
import { SHIFTED_PARTS, shiftedPatches } from "../kernels/shifted_patches.ts";
import { firstShape, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/**
 * Cuts images, and their shifts by half a patch along the four diagonals, into square patches
 * (shifted patch tokenization, Lee et al., 2021).
 *
 * `[batch, size, size, channels]` becomes `[batch, tokens, patchSize * patchSize * 5 * channels]`;
 * patches row by row, a patch's pixels too, the image's channels before those of the shifts.
 */
export class ShiftedPatches extends VitLayer {
  static readonly className = "VitShiftedPatches";
  readonly patchSize: number;

  constructor(config: { name?: string; patchSize: number }) {
    super(config);
    this.patchSize = config.patchSize;
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, height, width, channels] = firstShape(inputShape) as number[];
    const tokens = (height! / this.patchSize) * (width! / this.patchSize);
    return [batch!, tokens, this.patchSize ** 2 * SHIFTED_PARTS * channels!];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [images] = inputAndResidual(inputs);
      return shiftedPatches(images as tf.Tensor4D, this.patchSize);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), patchSize: this.patchSize };
  }
}
tf.serialization.registerClass(ShiftedPatches);
