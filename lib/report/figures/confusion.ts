/** What is taken for what, as a picture. */
import { type ConfusionMatrix, confusionMatrix } from "../confusion.ts";
import { heatmapSvg } from "../charts.ts";
import type { Figure } from "../figure.ts";
import type { TestFindings } from "../findings.ts";

/** Classes of a matrix that can still be read. */
const mostClasses = 30;

/** The confusion matrix: by superclass where there are such, else of the classes confused most. */
export async function confusionFigure(
  { classNames, superclasses, labels, guesses }: TestFindings,
): Promise<Figure> {
  const isWide = classNames.length > mostClasses;
  const groups = isWide ? superclasses : undefined;
  const all = groups
    ? confusionMatrix(
      grouped(labels, groups.ofClass),
      grouped(guesses, groups.ofClass),
      groups.names.length,
    )
    : confusionMatrix(labels, guesses, classNames.length);
  const names = groups?.names ?? classNames;
  const kept = names.length > mostClasses ? mostConfused(all) : [...names.keys()];
  const image = await heatmapSvg({
    names: kept.map((k) => names[k]!.replaceAll("_", " ")),
    values: kept.map((row) => kept.map((column) => all[row]![column]!)),
    rowName: "class",
    columnName: "taken for",
  });
  const of = groups
    ? "By superclass: a guess within the right superclass counts as right here."
    : kept.length < names.length
    ? `The ${kept.length} classes of ${names.length} that are confused most.`
    : "";
  return {
    ...{ name: "confusion", title: "Confusion matrix", image },
    caption:
      `Of the images of a row's class, how many per cent were taken for a column's; what is ` +
      `under 10 % is coloured only. ${of}`.trimEnd(),
  };
}

function grouped(classes: ArrayLike<number>, ofClass: readonly number[]): number[] {
  return Array.from(classes, (k) => ofClass[k]!);
}

/** The classes with the most images that are taken for others, or others for them; in their order. */
function mostConfused(matrix: ConfusionMatrix): number[] {
  const wrong = matrix.map((row, k) =>
    row.reduce((sum, count, guess) => guess === k ? sum : sum + count + matrix[guess]![k]!, 0)
  );
  return [...wrong.keys()].sort((a, b) => wrong[b]! - wrong[a]!).slice(0, mostClasses)
    .sort((a, b) => a - b);
}
