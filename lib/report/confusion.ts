/** What a classifier takes images for: counts by class, and which classes it confuses. */
import { markdownTable } from "./tables.ts";

/** Counts by label and guess: `matrix[label][guess]`. */
export type ConfusionMatrix = readonly (readonly number[])[];

/** Images of one class that were taken for another. */
export interface ConfusedPair {
  /** Name of the class. */
  readonly label: string;
  /** Name of the class that they were taken for. */
  readonly guess: string;
  readonly count: number;
  /** Of the class's images, 0 to 1. */
  readonly share: number;
}

/**
 * Counts what images were taken for.
 * @param labels `[count]` class indices
 * @param guesses `[count]` class indices; one that is no class counts nowhere
 * @param classes number of classes
 */
export function confusionMatrix(
  labels: ArrayLike<number>,
  guesses: ArrayLike<number>,
  classes: number,
): ConfusionMatrix {
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < labels.length; i++) {
    const row = matrix[labels[i]!];
    if (row === undefined) throw new RangeError(`Label ${labels[i]} of image ${i} has no name`);
    if (guesses[i]! < classes) row[guesses[i]!]!++;
  }
  return matrix;
}

/** Share of the images taken for a class that are of it, by class, 0 to 1; NaN for no images. */
export function precisions(matrix: ConfusionMatrix): number[] {
  return matrix.map((row, k) => row[k]! / matrix.reduce((sum, guessed) => sum + guessed[k]!, 0));
}

/** The pairs of classes that are confused most, the most images first; at most so many. */
export function confusedPairs(
  matrix: ConfusionMatrix,
  names: readonly string[],
  most: number,
): ConfusedPair[] {
  const pairs: ConfusedPair[] = [];
  matrix.forEach((row, label) => {
    const images = row.reduce((sum, count) => sum + count, 0);
    row.forEach((count, guess) => {
      if (count === 0 || label === guess) return;
      pairs.push({ label: names[label]!, guess: names[guess]!, count, share: count / images });
    });
  });
  // Sorting is stable, so that equal pairs stay in the order of the classes.
  return pairs.sort((a, b) => b.count - a.count || b.share - a.share).slice(0, most);
}

/** The confused pairs as a table. */
export function pairTable(pairs: readonly ConfusedPair[]): string {
  const rows = pairs.map(({ label, guess, count, share }) => [
    `${label}, taken for ${guess}`,
    String(count),
    `${(100 * share).toFixed(1)} %`,
  ]);
  return markdownTable(["class", "images", "of its images"], rows);
}

/**
 * The matrix as a table, a row a label and a column a guess by its number; null where it is wider
 * than so many characters.
 */
export function confusionTable(
  matrix: ConfusionMatrix,
  names: readonly string[],
  width: number,
): string | null {
  // A column takes six characters at least.
  if (matrix.length * 6 > width) return null;
  const head = ["class, taken for", ...matrix.map((_, guess) => String(guess))];
  const rows = matrix.map((row, label) => [`${label} ${names[label]}`, ...row.map(String)]);
  const table = markdownTable(head, rows);
  return table.indexOf("\n") <= width ? table : null;
}
