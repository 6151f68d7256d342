/**
 * Random flip, rotation and zoom as one affine map per image, from output pixel to sampling point,
 * as the Keras layers RandomFlip, RandomRotation and RandomZoom chained in that order. Keras
 * resamples after each layer; one sample of the product of the maps blurs less.
 */
import { randomUniform, streamKey, streams } from "../random.ts";

/** What happens to one image. */
export interface ImageTransform {
  /** Mirrored left to right. */
  flip: boolean;
  /** Rotation of the sampling grid about the image's centre, in radians. */
  angle: number;
  /** Scale of the sampling grid in height; below 1 the picture grows. */
  zoomHeight: number;
  /** The same in width. */
  zoomWidth: number;
}

/** How transforms are drawn. */
export interface TransformOptions {
  /** How many images. */
  batch: number;
  /** The position in the step's batch of the first image; 0 unless a batch is made in parts. */
  firstIndex?: number;
  /** Side of the square image that is sampled, in pixels. */
  size: number;
  seed: number;
  step: number;
  /** Mirror every second image, at random. */
  flip: boolean;
  /** The greatest angle, as a fraction of a full turn; drawn from -rotation to rotation. */
  rotation: number;
  /** Height and width are scaled by independent draws from 1 - zoom to 1 + zoom. */
  zoom: number;
}

/** Numbers of one affine map. */
const COEFFICIENTS = 6;

/** Random numbers that one image takes: flip, angle, zoom in height, zoom in width. */
const DRAWS = 4;

/**
 * The six numbers t of a map of a square image of `size` pixels: output pixel (x, y) is sampled at
 * `(t0 x + t1 y + t2, t3 x + t4 y + t5)`.
 */
export function composeTransform(transform: ImageTransform, size: number): number[] {
  const { flip, angle, zoomHeight, zoomWidth } = transform;
  const centre = (size - 1) / 2;
  // The first layer that changes the picture is the last map that a sampling point goes through.
  const mirror = flip ? -1 : 1;
  const t0 = mirror * Math.cos(angle) * zoomWidth;
  const t1 = mirror * -Math.sin(angle) * zoomHeight;
  const t3 = Math.sin(angle) * zoomWidth;
  const t4 = Math.cos(angle) * zoomHeight;
  return [t0, t1, centre - (t0 + t1) * centre, t3, t4, centre - (t3 + t4) * centre];
}

/**
 * Random transforms for the images of one step, `[batch * 6]`. Each is a function of seed, step
 * and the image's position in the batch alone.
 */
export function drawTransforms(options: TransformOptions): Float32Array {
  const { batch, firstIndex = 0, size, seed, step, flip, rotation, zoom } = options;
  const key = streamKey(seed, streams.augment, step);
  const transforms = new Float32Array(batch * COEFFICIENTS);
  for (let i = 0; i < batch; i++) {
    const first = (firstIndex + i) * DRAWS;
    const draw = (n: number) => randomUniform(key, first + n);
    const transform = {
      flip: flip && draw(0) < 0.5,
      angle: (2 * draw(1) - 1) * rotation * 2 * Math.PI,
      zoomHeight: 1 + (2 * draw(2) - 1) * zoom,
      zoomWidth: 1 + (2 * draw(3) - 1) * zoom,
    };
    transforms.set(composeTransform(transform, size), i * COEFFICIENTS);
  }
  return transforms;
}

/** Maps that leave every image as it is, `[batch * 6]`. */
export function identityTransforms(batch: number): Float32Array {
  const transforms = new Float32Array(batch * COEFFICIENTS);
  for (let i = 0; i < batch; i++) {
    transforms[i * COEFFICIENTS] = 1;
    transforms[i * COEFFICIENTS + 4] = 1;
  }
  return transforms;
}
