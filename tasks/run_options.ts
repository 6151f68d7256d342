/** The command-line options of a run: one for every field of its schema. */
import type { Command } from "@commander-js/extra-typings";
import { ungrouped } from "../lib/config/groups.ts";
import { isPlainObject } from "../lib/config/parse.ts";
import { preset, presets } from "../lib/config/presets.ts";
import { parseRunConfig, type RunConfig, runFieldTypes } from "../lib/config/run.ts";
import {
  type Classes,
  type DatasetName,
  type LabelKind,
  pictureSourceOf,
  sources,
} from "../lib/data/sources.ts";
import { UserError } from "../lib/errors.ts";
import { shown } from "../lib/shown.ts";
import { architectureOf } from "../lib/models/architecture.ts";
import { readSmallText } from "../lib/files.ts";

/** `batchSize` as `batch-size`. */
function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Adds `--preset`, `--config` and one option for every field of a run's configuration. */
export function addRunOptions(command: Command): Command {
  let extended: Command = command
    .option(
      "--preset <name>",
      `start from a preset: ${Object.keys(presets).join(", ")}`,
    ) as Command;
  extended = extended
    .option("--config <file>", "JSON file of fields that override the preset") as Command;
  const defaults = preset("keras-cifar100") as Record<string, unknown>;
  for (const [key, { type, description }] of Object.entries(runFieldTypes)) {
    const shown = JSON.stringify(defaults[key]);
    const text = `${description} (keras-cifar100: ${shown})`;
    extended = extended.option(`--${kebab(key)} <${type}>`, text) as Command;
  }
  return extended;
}

/**
 * The configuration that base, file and options give, in this order of precedence.
 *
 * `numClasses` follows the data set unless it is set, and where `epochs` alone is set, to fewer than
 * the base's `warmupEpochs`, these become the same share of the run.
 * @param base what the options override; the preset they name where it is left out
 * @param onNotice told what was changed that nobody asked for
 * @throws {UserError} for an unknown preset or key, an unreadable file or a wrong value
 */
export async function readRunConfig(
  options: Record<string, unknown>,
  base: RunConfig = preset(options.preset as string ?? "keras-cifar100"),
  onNotice: (text: string) => void = () => {},
): Promise<RunConfig> {
  const file = options.config === undefined ? {} : await readJson(options.config as string);
  const given: Record<string, unknown> = { ...file };
  const origin = new Map<string, string>();
  for (const [key, { type }] of Object.entries(runFieldTypes)) {
    if (options[key] === undefined) continue;
    given[key] = parseOption(key, type, options[key] as string);
    origin.set(key, `--${kebab(key)}`);
  }
  const config: Record<string, unknown> = { ...base, ...given };
  const dataChanged = given.dataset !== undefined || given.labels !== undefined;
  if (dataChanged && given.numClasses === undefined) {
    config.numClasses = await classCount(config, options.data as string) ?? base.numClasses;
  }
  if (Number(given.epochs) < base.warmupEpochs && given.warmupEpochs === undefined) {
    config.warmupEpochs = Number(given.epochs) * base.warmupEpochs / base.epochs;
  }
  const parsed = parseRunConfig(config, origin);
  if (parsed.warmupEpochs < base.warmupEpochs && given.warmupEpochs === undefined) {
    onNotice(
      `warmupEpochs ${base.warmupEpochs} of ${base.epochs} epochs becomes ` +
        `${parsed.warmupEpochs.toFixed(2)} of ${parsed.epochs}.`,
    );
  }
  // Before data is fetched for a model of an absurd size.
  architectureOf(parsed);
  return parsed;
}

/**
 * Classes of the data set that a configuration names; undefined where there is none such.
 * @param place where a person's own pictures are, if not where their name says
 */
async function classCount(
  { dataset, labels }: Record<string, unknown>,
  place: string | undefined,
): Promise<number | undefined> {
  if (typeof dataset !== "string") return undefined;
  const pictures = pictureSourceOf(dataset);
  if (pictures) {
    const { source, path } = pictures;
    return (await source.classNames(place ?? path)).length;
  }
  if (!Object.hasOwn(sources, dataset as string)) return undefined;
  const classes: Classes = sources[dataset as DatasetName].classes;
  return classes[labels as LabelKind] ?? classes.fine;
}

function parseOption(key: string, type: string, text: string): unknown {
  const wrong = (what: string) =>
    new UserError(`Option --${kebab(key)} cannot be ${shown(text)}: it must be ${what}.`);
  if (type === "number" || type === "integer") {
    const value = Number(text);
    if (text.trim() === "" || Number.isNaN(value)) throw wrong("a number");
    return value;
  }
  if (type === "boolean") {
    if (text !== "true" && text !== "false") throw wrong("true or false");
    return text === "true";
  }
  if (type === "numbers") {
    const values = text === "" ? [] : text.split(",").map(Number);
    if (values.some(Number.isNaN)) throw wrong("numbers separated by commas, such as 128,64");
    return values;
  }
  if (type === "names") return text === "" ? [] : text.split(",");
  return text;
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readSmallText(path);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `Cannot read the configuration file "${path}": ${(error as Error).message}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UserError(`The configuration file "${path}" is no valid JSON.`);
  }
  if (isPlainObject(value)) return ungrouped(value, ` in "${path}"`);
  throw new UserError(
    `The configuration file "${path}" must hold a JSON object, not ${shown(value)}.`,
  );
}
