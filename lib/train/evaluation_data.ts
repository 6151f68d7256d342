/** Whether images are of the classes that a checkpoint knows. */
import type { WeightsState } from "../checkpoint/training_state.ts";
import type { ImageDataset } from "../data/dataset.ts";
import { UserError } from "../errors.ts";
import { shown } from "../shown.ts";

/** Difference of two lists of class names, as part of a sentence; null where they are equal. */
export function classDifference(
  theirs: { name: string; classNames: readonly string[] },
  ours: { name: string; classNames: readonly string[] },
): string | null {
  const [a, b] = [theirs, ours].map(({ classNames }) => classNames);
  const length = Math.max(a!.length, b!.length);
  for (let i = 0; i < length; i++) {
    if (a![i] === b![i]) continue;
    const [x, y] = [a![i], b![i]].map((name) => name === undefined ? "none" : shown(name));
    const counts = a!.length === b!.length ? "" : ` (${a!.length} and ${b!.length} classes)`;
    return `class ${i} is ${x} in ${theirs.name} and ${y} in ${ours.name}${counts}`;
  }
  return null;
}

/**
 * Checks that a data set has the classes that weights were trained on: with others, a label would
 * mean something else, or nothing.
 * @returns what to say where the images are others than those of the training; null for the same
 * @throws {UserError} naming the first class that differs
 */
export function checkEvaluationData(
  { classNames, dataset }: Pick<WeightsState, "classNames" | "dataset">,
  data: Pick<ImageDataset, "name" | "classNames" | "identity">,
): string | null {
  const difference = classDifference({ name: "the run", classNames }, data);
  if (difference !== null) {
    throw new UserError(
      `The run's classes, of ${
        shown(dataset.name)
      }, are not those of ${data.name}: ${difference}; ` +
        `name its own data with --data.`,
    );
  }
  if (dataset.identity === data.identity) return null;
  const [found, known] = [data, dataset].map(({ identity }) => identity.slice(0, 12));
  return `These images are not those of the run: their checksum is ${found}, its own were ` +
    `${known}. The classes are the same.`;
}
