/**
 * The affine map of each image of a training step. Keras resamples after each layer; one sample of
 * the product of the maps blurs less.
 */
import { COEFFICIENTS, composed } from "./affine.ts";
import { drawnOf, type DrawOptions } from "./draws.ts";

/**
 * Random transforms for the images of one step, `[batch * 6]`. Each is a function of seed, step
 * and the image's position in the batch alone.
 */
export function drawTransforms(options: DrawOptions): Float32Array {
  const { batch, size } = options;
  const drawn = drawnOf("map", options);
  const transforms = new Float32Array(batch * COEFFICIENTS);
  for (let i = 0; i < batch; i++) {
    const maps = drawn.map(({ augmentation, values, drawOf }) =>
      augmentation.map(drawOf(i), values, size)
    );
    transforms.set(composed(maps, size), i * COEFFICIENTS);
  }
  return transforms;
}
