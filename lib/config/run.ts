/**
 * A run's configuration: the fields of all groups in one flat object, because every field is also a
 * command-line option and a JSON key of that name.
 */
import { unwrittenDefault } from "./fields.ts";
import { type RunConfig, runSchema, ungrouped } from "./groups.ts";
import { checkModelShape, modelFields, type ViTConfig } from "./model.ts";
import { isPlainObject, jsonSchemaOf, type Origin, parseFields } from "./parse.ts";
import { checkTraining } from "./training.ts";

export { type RunConfig, trainingFields } from "./groups.ts";
export { modelFields, parseViTConfig, type ViTConfig } from "./model.ts";
export { preset, type PresetName, presets } from "./presets.ts";

/** Type and description of every field of a run, for help texts and option parsers. */
export const runFieldTypes: Record<string, { type: string; description: string }> = Object
  .fromEntries(
    Object.entries(runSchema.shape).map(([key, field]) => {
      const json = jsonSchemaOf(field);
      const list = json.items?.type === "string" ? "names" : "numbers";
      const type = (json.words ? "name" : json.enum?.join("|")) ??
        (json.type === "array" ? list : json.type!);
      return [key, { type, description: field.description ?? "" }];
    }),
  );

/**
 * Checks a whole run configuration, flat or in groups.
 * @param origin which of the values the command line gave, so that errors name its options
 * @throws {UserError} naming the first wrong field, its value and what it may be.
 *
 * @example
 * ```ts
 * import { parseRunConfig, preset } from "../../mod.ts";
 *
 * const { input, ...rest } = { input: { batchSize: 64 }, ...preset("tiny") };
 * console.log(parseRunConfig({ ...rest, batchSize: input.batchSize }).batchSize); // 64
 * ```
 */
export function parseRunConfig(value: unknown, origin?: Origin): RunConfig {
  const flat = isPlainObject(value) ? ungrouped(value) : value;
  const config = parseFields(runSchema, flat, origin);
  checkModelShape(config, origin);
  checkTraining(config, origin);
  return config.augment === "" ? config : { ...config, flip: false, rotation: 0, zoom: 0 };
}

/**
 * The model's part of a run configuration.
 *
 * @example
 * ```ts
 * import { modelConfigOf, preset } from "../../mod.ts";
 *
 * console.log(modelConfigOf(preset("tiny")).pooling); // mean
 * ```
 */
export function modelConfigOf(config: RunConfig): ViTConfig {
  const entries = Object.keys(modelFields).map((key) => [key, config[key as keyof ViTConfig]]);
  return Object.fromEntries(entries) as ViTConfig;
}

/**
 * A configuration as files hold it: without the fields younger than release 0.1.0 that have their
 * default, so that a run which does not use them has the bytes that it had before they came.
 */
export function storedConfig<T extends Partial<RunConfig>>(config: T): Partial<T> {
  const entries = Object.entries(config).filter(([key, value]) => {
    const unwritten = unwrittenDefault(runSchema.shape[key as keyof RunConfig]);
    return unwritten === undefined || JSON.stringify(value) !== JSON.stringify(unwritten);
  });
  return Object.fromEntries(entries) as Partial<T>;
}
