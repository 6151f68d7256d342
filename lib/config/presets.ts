/** The presets by name; each is a file of its own, which says what it reached. */
import { UserError } from "../errors.ts";
import { shown } from "../shown.ts";
import type { RunConfig } from "./groups.ts";
import { didYouMean } from "./parse.ts";
import { compact } from "./presets/compact.ts";
import { finetune } from "./presets/finetune.ts";
import { kerasCifar100 } from "./presets/keras_cifar100.ts";
import { strong } from "./presets/strong.ts";
import { tiny } from "./presets/tiny.ts";

/**
 * The presets by name.
 *
 * @example
 * ```ts
 * import { presets } from "../../mod.ts";
 *
 * console.log(Object.keys(presets)); // [ "keras-cifar100", "tiny" ]
 * ```
 */
export const presets = {
  "keras-cifar100": kerasCifar100,
  tiny,
  compact,
  strong,
  finetune,
} as const satisfies Record<string, RunConfig>;

/** A preset's name. */
export type PresetName = keyof typeof presets;

/**
 * The preset of that name; an unknown name is a {@linkcode UserError} that names the nearest.
 *
 * @example
 * ```ts
 * import { preset } from "../../mod.ts";
 *
 * console.log({ ...preset("tiny"), epochs: 3 }.epochs); // 3
 * ```
 */
export function preset(name: string): RunConfig {
  if (Object.hasOwn(presets, name)) return structuredClone(presets[name as PresetName]);
  throw new UserError(`There is no preset ${shown(name)}${didYouMean(name, Object.keys(presets))}`);
}
