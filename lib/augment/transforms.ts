/**
 * The affine map of each image of a training step. Keras resamples after each layer; one sample of
 * the product of the maps blurs less.
 */
import { randomUniform, streamKey } from "../random.ts";
import { COEFFICIENTS, composed } from "./affine.ts";
import { type Listed, ofKind } from "./list.ts";

/** Options of {@linkcode drawTransforms}. */
export interface TransformOptions {
  /** Number of images. */
  batch: number;
  /** The position in the step's batch of the first image; 0 unless a batch is made in parts. */
  firstIndex?: number;
  /** Side of the square image that is sampled, in pixels. */
  size: number;
  seed: number;
  step: number;
  /** What changes the images, in that order; what does not move them is passed over. */
  augmentations: readonly Listed[];
}

/**
 * Random transforms for the images of one step, `[batch * 6]`. Each is a function of seed, step
 * and the image's position in the batch alone.
 */
export function drawTransforms(options: TransformOptions): Float32Array {
  const { batch, firstIndex = 0, size, seed, step } = options;
  const keyed = ofKind(options.augmentations, "map").map((listed) => ({
    ...listed,
    key: streamKey(seed, listed.augmentation.draws.stream, step),
  }));
  const transforms = new Float32Array(batch * COEFFICIENTS);
  for (let i = 0; i < batch; i++) {
    const maps = keyed.map(({ augmentation: { draws, map }, values, key }) => {
      const first = (firstIndex + i) * draws.ofImage + draws.first;
      return map((n) => randomUniform(key, first + n), values);
    });
    transforms.set(composed(maps, size), i * COEFFICIENTS);
  }
  return transforms;
}
