/** The random numbers of a step's images: each a function of seed, step, stream and position. */
import { randomUniform, streamKey } from "../random.ts";
import type { Augmentation, Draw } from "./augmentation.ts";
import type { Listed } from "./list.ts";

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

/** The augmentations of one kind, in the order of the list. */
export function drawnOf<K extends Augmentation["kind"]>(
  kind: K,
  { firstIndex = 0, seed, step, augmentations }: DrawOptions,
): Drawn<Extract<Augmentation, { kind: K }>>[] {
  type Wanted = Extract<Augmentation, { kind: K }>;
  return augmentations.filter(({ augmentation }) => augmentation.kind === kind)
    .map(({ augmentation, values }) => {
      const { stream, ofImage, first } = augmentation.draws;
      const key = streamKey(seed, stream, step);
      return {
        augmentation: augmentation as Wanted,
        values,
        drawOf: (image) => (n) => randomUniform(key, (firstIndex + image) * ofImage + first + n),
      };
    });
}
