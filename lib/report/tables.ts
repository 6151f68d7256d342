/** Tables in Markdown: accuracy by class, and any other. */

import { printable } from "../shown.ts";

/** Accuracy within one class. */
export interface ClassAccuracy {
  readonly name: string;
  /** Images of the class. */
  readonly count: number;
  /** Share of them whose first guess was right, 0 to 1; NaN for no images. */
  readonly top1: number;
  /** Share of them with the right class among the first five guesses. */
  readonly top5: number;
}

/**
 * Counts hits by class.
 * @param labels `[count]` class indices
 * @param top1 `[count]` 1 where the first guess was right
 * @param top5 `[count]` 1 where the class was among the first five
 */
export function classAccuracies(
  classNames: readonly string[],
  labels: ArrayLike<number>,
  top1: ArrayLike<number>,
  top5: ArrayLike<number>,
): ClassAccuracy[] {
  const sums = classNames.map(() => ({ count: 0, top1: 0, top5: 0 }));
  for (let i = 0; i < labels.length; i++) {
    const sum = sums[labels[i]!];
    if (sum === undefined) throw new RangeError(`Label ${labels[i]} of image ${i} has no name`);
    sum.count++;
    sum.top1 += top1[i]!;
    sum.top5 += top5[i]!;
  }
  return sums.map((sum, i) => ({
    name: classNames[i]!,
    count: sum.count,
    top1: sum.top1 / sum.count,
    top5: sum.top5 / sum.count,
  }));
}

/** Accuracy by class, the best first; classes without images come last. */
export function classTable(classes: readonly ClassAccuracy[]): string {
  const value = (share: number) => Number.isNaN(share) ? -1 : share;
  const sorted = classes.toSorted((a, b) =>
    value(b.top1) - value(a.top1) || value(b.top5) - value(a.top5) || (a.name < b.name ? -1 : 1)
  );
  const rows = sorted.map(({ name, count, top1, top5 }) => [
    name,
    String(count),
    percent(top1),
    percent(top5),
  ]);
  return markdownTable(["class", "images", "top-1", "top-5"], rows);
}

/** A table with its columns aligned, names to the left and figures to the right. */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const escaped = [head, ...rows].map((row) =>
    row.map((cell) => printable(cell).replaceAll("|", "\\|"))
  );
  const widths = head.map((_, i) => Math.max(3, ...escaped.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const padded = escaped.map((row) =>
    line(row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
  );
  const rule = line(widths.map((width, i) => "-".repeat(width - 1) + (i === 0 ? "-" : ":")));
  return [padded[0], rule, ...padded.slice(1)].join("");
}

function percent(share: number): string {
  return Number.isNaN(share) ? "" : `${(100 * share).toFixed(1)} %`;
}
