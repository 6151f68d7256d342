/** The model input of a batch, made on the device from packed bytes and a step's inputs. */
import { operationsName } from "../augment/operation_inputs.ts";
import type { Preprocessing } from "../data/preprocessing.ts";
import { augmentBatch } from "../kernels/augment_batch/augment_batch.ts";
import { imageOperations } from "../kernels/image_operations/image_operations.ts";
import type { tf } from "../tfjs.ts";

/**
 * Images gathered, moved, changed by operations and normalized. Without operations and erasing that
 * is one pass; with them the first leaves grey levels, and the last normalizes.
 *
 * @param packed int32 `[count, words]` each, see `packImages`
 * @param inputs by name: `indices`, and where there are such `transforms`, `operations0`, `erased`
 * @param size side of the images in pixels
 * @returns `[batch, size, size, channels]`
 */
export function augmentedImages(
  packed: tf.Tensor2D[],
  inputs: Record<string, tf.Tensor>,
  preprocessing: Preprocessing,
  size: number,
): tf.Tensor4D {
  const { mean, variance, channels } = preprocessing;
  const erased = inputs.erased as tf.Tensor2D | undefined;
  const rounds: (tf.Tensor2D | null)[] = [];
  for (let round = 0; operationsName(round) in inputs; round++) {
    rounds.push(inputs[operationsName(round)] as tf.Tensor2D);
  }
  if (erased && rounds.length === 0) rounds.push(null);
  const levels = rounds.length > 0 &&
    { mean: Array<number>(channels).fill(0), variance: Array<number>(channels).fill(1) };
  let images = augmentBatch(
    packed,
    inputs.indices as tf.Tensor1D,
    (inputs.transforms as tf.Tensor2D | undefined) ?? null,
    { ...preprocessing, ...levels, size },
  );
  for (const [i, operations] of rounds.entries()) {
    const isLast = i === rounds.length - 1;
    const before = images;
    images = imageOperations(before, operations, isLast ? { mean, variance, erased } : undefined);
    before.dispose();
  }
  return images;
}
