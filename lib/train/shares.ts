/** Which images of a batch a rank computes. */

/** A rank's images of a batch, or of one part of an accumulated one. */
export interface Share {
  /** Place of its first image within the batch. */
  readonly from: number;
  /** Place of its first image within the part, from where dropout counts. */
  readonly first: number;
  /** At least 1: a rank for which there is none computes the first, which then weighs nothing. */
  readonly images: number;
  /** Weight of its mean loss in that of the batch: its part of the images. */
  readonly weight: number;
}

/** A place among others that do the same. */
export interface Place {
  readonly rank: number;
  readonly size: number;
}

/** The range of `count` things that are a rank's: one after the other, and one more or fewer. */
export function rangeOf(count: number, { rank, size }: Place): { from: number; to: number } {
  const [from, to] = [rank, rank + 1].map((n) => Math.floor(count * n / size));
  return { from: from!, to: to! };
}

/**
 * A rank's shares of a batch, one of each of the parts that one process would take it in.
 * @param count images of the batch
 * @param most images of a part; the last may have fewer
 */
export function sharesOf(count: number, most: number, place: Place): Share[] {
  return Array.from({ length: Math.ceil(count / most) }, (_, part) => {
    const begin = part * most;
    const { from, to } = rangeOf(Math.min(most, count - begin), place);
    return from === to
      ? { from: begin, first: 0, images: 1, weight: 0 }
      : { from: begin + from, first: from, images: to - from, weight: (to - from) / count };
  });
}
