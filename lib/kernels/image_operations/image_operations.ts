/**
 * One operation of its own on each image of a batch, in grey levels 0 to 255: what RandAugment and
 * its kin are made of. Several one after another are several calls, of which the last may also
 * normalize and erase. No gradient.
 *
 * The meaning is torchvision's (`transforms.functional` on uint8): what changes levels rounds them
 * to whole ones first, and rounds its result down; what moves pixels does neither, samples
 * bilinearly and fills with 128.
 *
 * A workgroup has an image on webgpu, since histograms and means are of whole images. Operations
 * that map levels to levels become a table of 256 entries a channel in its memory.
 */
import { dispatch, uniformWords, unsigned } from "../../backend/compute.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { fourFloats, inverseDeviations } from "../augment_batch/options.ts";
import { gridOf } from "../grid.ts";
import { registerKernels, runKernel } from "../register.ts";
import { hostImageOperations } from "./host.ts";
import { OPERATION_NUMBERS } from "./operations.ts";
import type { Finish, ImageOperations } from "./options.ts";
import { imageOperationsWgsl } from "./wgsl.ts";

export type { Finish } from "./options.ts";

/** What the last call for a batch does besides. */
export interface FinishOptions extends Finish {
  /**
   * float32 `[batch, 4]`: top, left, bottom and right of what becomes 0 after normalization, in
   * whole pixels within the image; bottom and right are the first that stay.
   */
  erased?: tf.Tensor2D;
}

/**
 * Changes each image by its operation.
 *
 * @param images float32 `[batch, height, width, channels]`, 0 to 255, 1 to 4 channels; for other than
 * three `color` changes nothing, and grey is the channels' mean
 * @param operations float32 `[batch, 3]`, a row for each image of `operationRow` (operations.ts);
 * null for none
 * @param finish normalizes the result, `(value - mean) / sqrt(variance)`, and erases
 * @returns of the images' shape
 * @throws {Error} when shapes do not fit.
 */
export function imageOperations(
  images: tf.Tensor4D,
  operations: tf.Tensor2D | null,
  finish?: FinishOptions,
): tf.Tensor4D {
  const [batch, , , channels] = images.shape;
  if (!(channels >= 1 && channels <= 4)) {
    throw new Error(`Images of 1 to 4 channels have operations, not [${images.shape}].`);
  }
  const { erased = null, ...normalized } = finish ?? {};
  for (const [rows, columns] of [[operations, OPERATION_NUMBERS], [erased, 4]] as const) {
    if (!rows || `${rows.shape}` === `${[batch, columns]}`) continue;
    throw new Error(`The images' rows must be [${batch}, ${columns}], not [${rows.shape}].`);
  }
  if (finish && (finish.mean.length !== channels || finish.variance.length !== channels)) {
    throw new Error(`${channels} channels need as many means and variances.`);
  }
  return runKernel<tf.Tensor4D>(
    "VitImageOperations",
    { images, operations, erased },
    finish && { finish: normalized },
  );
}

interface Inputs {
  images: TensorInfo;
  operations?: TensorInfo;
  erased?: TensorInfo;
}
interface Attributes {
  finish?: Finish;
}

const given = (
  { images, operations, erased }: Inputs,
  { finish }: Attributes,
): ImageOperations => ({ images, operations, erased, finish });

function webgpuImageOperations(
  { images, operations, erased, finish }: ImageOperations,
): TensorInfo {
  const [batch, height, width, channels] = images.shape as [number, number, number, number];
  const variant = {
    channels,
    hasOperations: !!operations,
    hasErased: !!erased,
    isFinished: !!finish,
  };
  return dispatch({
    key: `image_operations/${Object.values(variant)}`,
    wgsl: () => imageOperationsWgsl(variant),
    inputs: [images, operations, erased].filter((input) => input !== undefined),
    outputs: [{ shape: images.shape, dtype: "float32" }],
    uniforms: uniformWords([
      ...fourFloats(finish?.mean ?? []),
      ...fourFloats(inverseDeviations(finish?.variance ?? [])),
      ...unsigned(height, width, batch),
    ]),
    workgroups: gridOf(batch),
  })[0]!;
}

registerKernels({
  VitImageOperations: (inputs: Inputs, a: Attributes) => webgpuImageOperations(given(inputs, a)),
}, {
  VitImageOperations: (inputs: Inputs, a: Attributes) => hostImageOperations(given(inputs, a)),
});
