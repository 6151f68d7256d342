import { tf } from "../tfjs.ts";
import { SHIFTED_PARTS, shiftedPatches } from "../kernels/shifted_patches.ts";
import { inputAndResidual, type InputShape } from "./layer.ts";
import { Patches } from "./patches.ts";

/**
 * Cuts images, and their shifts by half a patch along the four diagonals, into square patches
 * (shifted patch tokenization, Lee et al., 2021).
 *
 * `[batch, size, size, channels]` becomes `[batch, tokens, patchSize * patchSize * 5 * channels]`;
 * patches row by row, a patch's pixels too, the image's channels before those of the shifts.
 */
export class ShiftedPatches extends Patches {
  static override readonly className = "VitShiftedPatches";

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, tokens, width] = super.computeOutputShape(inputShape) as number[];
    return [batch!, tokens!, width! * SHIFTED_PARTS];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [images] = inputAndResidual(inputs);
      return shiftedPatches(images as tf.Tensor4D, this.patchSize);
    });
  }
}
tf.serialization.registerClass(ShiftedPatches);
