/** What an augmentation is. */
import type { AffineMap } from "./affine.ts";

/** One number in an augmentation's brackets. */
export interface Parameter {
  /** Its meaning in a few words, for error texts. */
  name: string;
  min: number;
  max: number;
  /** Whether it must be a whole number. */
  whole?: boolean;
}

/** What every augmentation has. */
interface Common {
  /** What it does and when to use it, in one line. */
  description: string;
  /** The numbers in its brackets. */
  parameters: readonly Parameter[];
  /** Place of its random numbers: `count` from `first` on, of the `ofImage` of a stream's image. */
  draws: { stream: number; ofImage: number; first: number; count: number };
}

/** One that moves the points of an image. */
export interface MapAugmentation extends Common {
  kind: "map";
  /**
   * The map of one image.
   * @param draw its n-th random number, in [0, 1)
   * @param values of the parameters
   */
  map(draw: (n: number) => number, values: readonly number[]): AffineMap;
}

/** A way to vary training images; a file each, and a line of the table in `table.ts`. */
export type Augmentation = MapAugmentation;

/**
 * The kinds in the order in which they change a batch, and how error texts call them; within a kind
 * the order is that of the list.
 */
export const kinds: Record<Augmentation["kind"], string> = { map: "moves the picture" };

/** The place of the numbers of release 0.1.0: one stream for flip, rotation and zoom. */
export const sharedDraws = { ofImage: 4 };
