/** The values of a step whose batch is mixed. */
import type { Mix } from "../augment/augmentation.ts";
import { labelShareOf } from "../augment/mixing.ts";
import { isOperationInput } from "../augment/operation_inputs.ts";
import type { InputValues } from "../capture/repeated.ts";

/**
 * Whether an input has a row for each image that is made. Of a batch that is mixed these are one more
 * than its own: each image's partner is the one after it, so the first stands at the end again.
 */
export function isOfImages(name: string): boolean {
  return name === "indices" || name === "transforms" || isOperationInput(name);
}

/** The values of a batch whose images are mixed, each with the one after it, the last with the first. */
export function mixedValues(
  values: Record<string, InputValues>,
  mix: Mix,
  size: number,
): Record<string, InputValues> {
  const mixed = { ...values };
  for (const [name, input] of Object.entries(values)) {
    if (isOfImages(name)) mixed[name] = withFirstAgain(input);
  }
  const { shape, values: labels } = values.labels!;
  const second = { shape, values: labels.map((_, i) => labels[(i + 1) % labels.length]!) };
  return { ...mixed, ...mixValues(mix, size, second) };
}

/** What a mixed batch has beside its images, of the labels of what is mixed in. */
export function mixValues(
  mix: Mix,
  size: number,
  second: InputValues,
): Record<string, InputValues> {
  const { shape, values: { length } } = second;
  const numbers = Float32Array.of(mix.share, ...mix.box);
  return {
    second,
    share: { shape, values: new Float32Array(length).fill(labelShareOf(mix, size)) },
    mix: { shape: [numbers.length], values: numbers },
  };
}

/** Rows, and the first of them at their end again. */
function withFirstAgain(rows: InputValues): InputValues {
  const [count, ...row] = rows.shape as [number, ...number[]];
  return joined(rows, {
    shape: [1, ...row],
    values: rows.values.subarray(0, rows.values.length / count),
  });
}

/** Rows, and others after them. */
export function joined(first: InputValues, second: InputValues): InputValues {
  const { length } = first.values;
  const all = new (first.values.constructor as Float32ArrayConstructor)(
    length + second.values.length,
  );
  all.set(first.values);
  all.set(second.values, length);
  return { shape: [first.shape[0]! + second.shape[0]!, ...first.shape.slice(1)], values: all };
}
