/** The groups of a run's fields, in the order in which files have them. */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { augmentFields } from "./augment.ts";
import { inputFields } from "./input.ts";
import { lossFields } from "./loss.ts";
import { modelFields } from "./model.ts";
import { optimizerFields } from "./optimizer.ts";
import { assertKnown, isPlainObject } from "./parse.ts";
import { scheduleFields } from "./schedule.ts";

/** Fields by the name of their group. */
export const groups = {
  model: modelFields,
  input: inputFields,
  schedule: scheduleFields,
  augment: augmentFields,
  loss: lossFields,
  optimizer: optimizerFields,
};

/** The fields that decide what is trained on, and how: all but the model's. */
export const trainingFields = {
  ...inputFields,
  ...scheduleFields,
  ...augmentFields,
  ...lossFields,
  ...optimizerFields,
};

/**
 * All fields of a run, flat.
 */
export const runSchema = z.strictObject({ ...modelFields, ...trainingFields });

/** @internal */
type Schema = typeof runSchema;

/** Everything that decides the numbers of a run. */
export type RunConfig = z.infer<Schema>;

/**
 * The fields of a file flat, whether it has them so, in groups (`{"model": {…}, "optimizer": {…}}`)
 * or some each way.
 * @param place where the keys stand, as in ` in "tiny.json"`
 * @throws {UserError} naming the first unknown key, its group and the nearest known one, or a key
 * that is given twice.
 */
export function ungrouped(value: Record<string, unknown>, place = ""): Record<string, unknown> {
  const known = Object.keys(runSchema.shape);
  const flat: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    // `schedule` is a field and a group; only a group is an object.
    const isGroup = Object.hasOwn(groups, key) && isPlainObject(inner);
    const fields = isGroup ? inner : { [key]: inner };
    if (isGroup) {
      const names = Object.keys(groups[key as keyof typeof groups]);
      assertKnown(Object.keys(inner), names, ` in group "${key}"${place}`);
    } else assertKnown([key], known, place);
    for (const [name, field] of Object.entries(fields)) {
      if (Object.hasOwn(flat, name)) {
        throw new UserError(`Configuration key "${name}"${place} is given twice; leave one out.`);
      }
      flat[name] = field;
    }
  }
  return flat;
}
