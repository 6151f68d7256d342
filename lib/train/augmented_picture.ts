/** One picture as training sees it, for people. */
import type { Listed } from "../augment/listed.ts";
import { drawOperationInputs } from "../augment/operation_inputs.ts";
import { drawTransforms } from "../augment/transforms.ts";
import { tensorsOf } from "../capture/repeated.ts";
import { packImages } from "../kernels/augment_batch/augment_batch.ts";
import { tf } from "../tfjs.ts";
import { augmentedImages } from "./augmented_images.ts";

/** A square picture of bytes, `[size, size, channels]`. */
export interface SquarePicture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** What becomes of a picture that is the first of step 0; what is erased is grey. */
export async function augmentedPicture<P extends SquarePicture>(
  picture: P,
  augmentations: readonly Listed[],
  seed: number,
): Promise<P> {
  const { width: size, channels, data } = picture;
  const drawn = { batch: 1, step: 0, size, seed, augmentations };
  // Erased values are 0 after normalization, so that the mean is the grey that is shown.
  const grey = 128;
  const preprocessing = {
    ...{ height: size, width: size, channels },
    ...{ mean: Array<number>(channels).fill(grey), variance: Array<number>(channels).fill(1) },
  };
  const images = tf.tidy(() => {
    const inputs = tensorsOf<Record<string, tf.Tensor>>({
      indices: { shape: [1], values: Int32Array.of(0) },
      transforms: { shape: [1, 6], values: drawTransforms(drawn) },
      ...drawOperationInputs(drawn),
    });
    return augmentedImages(packImages(data, data.length), inputs, preprocessing, size);
  });
  const values = await images.data<"float32">();
  images.dispose();
  return { ...picture, data: new Uint8Array(Uint8ClampedArray.from(values, (x) => x + grey)) };
}
