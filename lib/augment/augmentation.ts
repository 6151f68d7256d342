/** What an augmentation is. */
import type { AffineMap } from "./affine.ts";
import type { Mix } from "./mixing.ts";

/** One number in an augmentation's brackets. */
export interface Parameter {
  /** Its meaning in a few words, for error texts. */
  name: string;
  min: number;
  max: number;
  /** Whether it must be a whole number. */
  whole?: boolean;
  /** Whether it may be left out, as may those behind it. */
  optional?: boolean;
}

/** What every augmentation has. */
interface Common {
  /** What it does and when to use it, in one line. */
  description: string;
  /** The numbers in its brackets. */
  parameters: readonly Parameter[];
}

/** What every augmentation has that draws for each image. */
interface OfImage extends Common {
  /** Place of its random numbers: `count` from `first` on, of the `ofImage` of a stream's image. */
  draws: { stream: number; ofImage: number; first: number; count: number };
}

/** One that moves the points of an image. */
export interface MapAugmentation extends OfImage {
  kind: "map";
  /**
   * The map of one image.
   * @param draw its n-th random number, in [0, 1)
   * @param values of the parameters
   */
  map(draw: (n: number) => number, values: readonly number[]): AffineMap;
}

/** One that mixes each image of a batch with another; of several in a list a batch takes one. */
export interface MixAugmentation extends Common {
  kind: "mix";
  /**
   * How a batch is mixed.
   * @param share random, in [0, 1]: how much of its own an image keeps
   * @param draw its n-th random number, in [0, 1)
   * @param size side of the images in pixels
   */
  mix(share: number, draw: (n: number) => number, size: number): Mix;
}

/** A way to vary training images; a file each, and a line of the table in `table.ts`. */
export type Augmentation = MapAugmentation | MixAugmentation;

/**
 * The kinds in the order in which they change a batch, and how error texts call them; within a kind
 * the order is that of the list.
 */
export const kinds: Record<Augmentation["kind"], string> = {
  map: "moves the picture",
  mix: "mixes pictures",
};

/** The place of the numbers of release 0.1.0: one stream for flip, rotation and zoom. */
export const sharedDraws = { ofImage: 4 };
