/** What an augmentation is. */
import type { ImageOperation } from "../kernels/image_operations/operations.ts";
import type { AffineMap } from "./affine.ts";

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
export interface OfImage extends Common {
  /** Place of its random numbers: `count` from `first` on, of the `ofImage` of a stream's image. */
  draws: { stream: number; ofImage: number; first: number; count: number };
}

/** The n-th random number of an image, or of a batch, in [0, 1). */
export type Draw = (n: number) => number;

/** One that moves the points of an image. */
export interface MapAugmentation extends OfImage {
  kind: "map";
  /**
   * The map of one image.
   * @param values of the parameters
   * @param size side of the square image in pixels
   */
  map(draw: Draw, values: readonly number[], size: number): AffineMap;
}

/** One that does operations of the device on an image, one after another. */
export interface OperationAugmentation extends OfImage {
  kind: "operation";
  /** How many operations: each is a pass over the batch. */
  rounds(values: readonly number[]): number;
  /**
   * The operations of one image, `rounds` of them.
   * @param size side of the square image in pixels
   */
  operations(draw: Draw, values: readonly number[], size: number): ImageOperation[];
}

/** A rectangle in pixels; bottom and right are the first that are not in it. */
export type Box = readonly [top: number, left: number, bottom: number, right: number];

/** One that makes a part of an image the channels' mean. */
export interface EraseAugmentation extends OfImage {
  kind: "erase";
  /**
   * The part of one image, or none.
   * @param size side of the square image in pixels
   */
  box(draw: Draw, values: readonly number[], size: number): Box | null;
}

/** What becomes of each image of a batch and its partner. */
export interface Mix {
  /** Weight of the image itself outside of the box, 0 to 1; the partner has the rest. */
  share: number;
  /** The pixels that are the partner's alone, right and bottom excluded. */
  box: readonly [left: number, top: number, right: number, bottom: number];
}

/** One that mixes each image of a batch with another; of several in a list a batch takes one. */
export interface MixAugmentation extends Common {
  kind: "mix";
  /**
   * How a batch is mixed.
   * @param share random, in [0, 1]: how much of its own an image keeps
   * @param draw of the batch
   * @param size side of the images in pixels
   */
  mix(share: number, draw: Draw, size: number): Mix;
}

/** A way to vary training images; a file each, and a line of the table in `table.ts`. */
export type Augmentation =
  | MapAugmentation
  | OperationAugmentation
  | EraseAugmentation
  | MixAugmentation;

/**
 * The kinds in the order in which they change a batch, and how error texts call them; within a kind
 * the order is that of the list.
 */
export const kinds: Record<Augmentation["kind"], string> = {
  map: "moves the picture",
  operation: "changes its colours",
  erase: "erases a part",
  mix: "mixes pictures",
};

/** The place of the numbers of release 0.1.0: one stream for flip, rotation and zoom. */
export const sharedDraws = { ofImage: 4 };
