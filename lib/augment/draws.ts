/** The random numbers of a step's images: each a function of seed, step, stream and position. */
import { randomUniform, streamKey } from "../random.ts";
import type { Augmentation, Draw, OfImage } from "./augmentation.ts";
import { type Listed, ofKind } from "./listed.ts";

/** Images of one step, and what changes them. */
export interface DrawOptions {
  /** Number of images. */
  batch: number;
  /** The position in the step's batch of the first image; 0 unless a batch is made in parts. */
  firstIndex?: number;
  /** Side of the square image, in pixels. */
  size: number;
  seed: number;
  step: number;
  /** What changes the images, in that order. */
  augmentations: readonly Listed[];
}

/** An augmentation with its numbers, given and drawn. */
export interface Drawn<A extends Augmentation> {
  augmentation: A;
  values: readonly number[];
  /** The random numbers of the i-th image. */
  drawOf(image: number): Draw;
}

/** @internal */
type OfImageKind = Exclude<Augmentation["kind"], "mix">;

/** The augmentations of one kind that draws for each image, in the order of the list. */
export function drawnOf<K extends OfImageKind>(
  kind: K,
  { firstIndex = 0, seed, step, augmentations }: DrawOptions,
): Drawn<Extract<Augmentation, { kind: K }>>[] {
  return ofKind(augmentations, kind).map(({ augmentation, values }) => {
    const { stream, ofImage, first } = (augmentation as OfImage).draws;
    const key = streamKey(seed, stream, step);
    return {
      augmentation,
      values,
      drawOf: (image) => (n) => randomUniform(key, (firstIndex + image) * ofImage + first + n),
    };
  });
}
