/** What was found out about a trained model, as plain numbers and bytes for whoever shows it. */
import type { Superclasses } from "../data/dataset.ts";
import type { Picture } from "./patches.ts";
import type { Guess } from "./predictions.ts";
import type { Result } from "./summary.ts";

/** A test image and what the model takes it for. */
export interface Example {
  /** As the model sees it, but for the normalization. */
  readonly picture: Picture;
  /** Name of its class. */
  readonly label: string;
  /** The likeliest first. */
  readonly guesses: readonly Guess[];
  /** `[side * side]`, how much of the model's attention comes from each patch; adds up to 1. */
  readonly attention: Float32Array;
}

/** How a model does on the test images. */
export interface TestFindings {
  readonly result: Result;
  /** How many images were tested, and how many there are. */
  readonly tested: number;
  readonly count: number;
  readonly classNames: readonly string[];
  readonly superclasses?: Superclasses;
  /** `[tested]`, the class of each image, what it was taken for, and 1 where it was among the first five. */
  readonly labels: ArrayLike<number>;
  readonly guesses: ArrayLike<number>;
  readonly inTop5: ArrayLike<number>;
  /** Images that were recognized, and that were not, each from all over the split. */
  readonly right: readonly Example[];
  readonly wrong: readonly Example[];
  /** The images to whose class the model gives the least probability, the least first. */
  readonly surprising: readonly Example[];
}

/** What weights look like. */
export interface WeightFindings {
  /** Places along a side of the image, and `[side * side, side * side]` cosines of their embeddings. */
  readonly positions: { readonly side: number; readonly similarity: Float32Array } | null;
  /** The principal components of the filters that see the image, the strongest first. */
  readonly filters: readonly Picture[];
}
