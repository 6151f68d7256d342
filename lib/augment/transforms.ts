/**
 * Random flip, rotation and zoom as one affine map per image, from output pixel to sampling point,
 * as the Keras layers RandomFlip, RandomRotation and RandomZoom chained in that order. Keras
 * resamples after each layer; one sample of the product of the maps blurs less.
 */
import { randomUniform, streamKey, streams } from "../random.ts";

/** Change of one image. */
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
  /** Mirror every second image, at random. */
  flip: boolean;
  /** The greatest angle, as a fraction of a full turn; drawn from -rotation to rotation. */
  rotation: number;
  /** Height and width are scaled by independent draws from 1 - zoom to 1 + zoom. */
  zoom: number;
}

/** Numbers of one affine map. */
const COEFFICIENTS = 6;

/** One augmentation. */
export interface Augmentation {
  /** Place of its random numbers: `count` from `first` on, of the `ofImage` of a stream's image. */
  draws: { stream: number; ofImage: number; first: number; count: number };
  /** Changes what happens to an image; `draw(n)` is its n-th number, in [0, 1). */
  apply(transform: ImageTransform, draw: (n: number) => number, options: TransformOptions): void;
}

/** The three of release 0.1.0 have one stream, four numbers an image. */
const firstThree = { stream: streams.augment, ofImage: 4 };

/**
 * The augmentations by name. A new one takes a stream of its own: whoever leaves it off then has
 * the numbers that he had before.
 */
export const augmentations = {
  flip: {
    draws: { ...firstThree, first: 0, count: 1 },
    apply: (transform, draw, { flip }) => {
      transform.flip = flip && draw(0) < 0.5;
    },
  },
  rotation: {
    draws: { ...firstThree, first: 1, count: 1 },
    apply: (transform, draw, { rotation }) => {
      transform.angle = (2 * draw(0) - 1) * rotation * 2 * Math.PI;
    },
  },
  zoom: {
    draws: { ...firstThree, first: 2, count: 2 },
    apply: (transform, draw, { zoom }) => {
      transform.zoomHeight = 1 + (2 * draw(0) - 1) * zoom;
      transform.zoomWidth = 1 + (2 * draw(1) - 1) * zoom;
    },
  },
} satisfies Record<string, Augmentation>;

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
  const { batch, firstIndex = 0, size, seed, step } = options;
  const chosen = Object.values<Augmentation>(augmentations).map(({ draws, apply }) => ({
    ...{ draws, apply },
    key: streamKey(seed, draws.stream, step),
  }));
  const transforms = new Float32Array(batch * COEFFICIENTS);
  for (let i = 0; i < batch; i++) {
    const transform = { flip: false, angle: 0, zoomHeight: 1, zoomWidth: 1 };
    for (const { draws, apply, key } of chosen) {
      const first = (firstIndex + i) * draws.ofImage + draws.first;
      apply(transform, (n) => randomUniform(key, first + n), options);
    }
    transforms.set(composeTransform(transform, size), i * COEFFICIENTS);
  }
  return transforms;
}
