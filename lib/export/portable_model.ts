/**
 * A classifier as other programs need it, and its exchange file: safetensors with plain names,
 * which any library of that format reads, and the configuration in the metadata.
 */
import { storedConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import {
  bytesOf,
  encodeHead,
  layOut,
  SafetensorsReader,
  type TensorData,
  tensorOf,
} from "../checkpoint/safetensors.ts";
import type { FloatTensor } from "../checkpoint/training_state.ts";
import { writeFileAtomic } from "../files.ts";
import { checkWeightShapes } from "../models/architecture.ts";
import { type ModelMetadata, parseMetadata } from "./metadata.ts";

/** A classifier's weights and what their use takes. */
export interface PortableModel extends ModelMetadata {
  /** By plain name, such as `blocks.0.attention.query.kernel`. */
  weights: ReadonlyMap<string, FloatTensor>;
}

/** Format that the metadata of exported weights gives. */
export const plainFormat = "deno-vit-weights/1";
const format = plainFormat;

/** The metadata that every export format carries: values are JSON. */
export function portableMetadata(model: PortableModel): Record<string, string> {
  return {
    config: JSON.stringify(storedConfig(model.config)),
    classNames: JSON.stringify(model.classNames),
    preprocessing: JSON.stringify(model.preprocessing),
  };
}

/**
 * Saves a model's weights for other programs: no optimizer state, no checksums.
 * @throws {UserError} if the weights are not those of the configuration, or the file cannot be
 * written; an older file of that name then stays as it was.
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, namedVariables, preset } from "../../mod.ts";
 * import { readWeights, savePlainWeights, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const config = modelConfigOf({ ...preset("tiny"), numClasses: 2 });
 * const weights = await readWeights(namedVariables(createViTClassifier(config)));
 * const [mean, variance] = [[0, 0, 0], [1, 1, 1]];
 * const preprocessing = { height: 32, width: 32, channels: 3, mean, variance };
 * const model = { config, weights, classNames: ["a", "b"], preprocessing };
 * await savePlainWeights(`${await Deno.makeTempDir()}/vit.safetensors`, model);
 * ```
 */
export async function savePlainWeights(path: string, model: PortableModel): Promise<void> {
  const shapes = new Map([...model.weights].map(([name, { shape }]) => [name, shape]));
  checkWeightShapes(model.config, shapes, "The model");
  const tensors = new Map<string, TensorData>(
    [...model.weights].map(([name, weight]) => [name, { dtype: "F32", ...weight }]),
  );
  const entries = layOut(tensors);
  const head = encodeHead(entries, { format, ...portableMetadata(model) });
  await writeFileAtomic(path, [head, ...entries.map(({ name }) => bytesOf(tensors.get(name)!))]);
}

/**
 * Loads a file of {@linkcode savePlainWeights}; nobody needs to vouch for it. Names, shapes and
 * dtypes are checked against the file's configuration before memory is taken for the weights.
 * @throws {UserError} naming the file and the fault.
 *
 * @example
 * ```ts
 * import { createViTClassifier, loadPlainWeights, modelConfigOf } from "../../mod.ts";
 * import { namedVariables, preset } from "../../mod.ts";
 * import { readWeights, savePlainWeights, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const config = modelConfigOf({ ...preset("tiny"), numClasses: 2 });
 * const weights = await readWeights(namedVariables(createViTClassifier(config)));
 * const [mean, variance] = [[0, 0, 0], [1, 1, 1]];
 * const preprocessing = { height: 32, width: 32, channels: 3, mean, variance };
 * const model = { config, weights, classNames: ["a", "b"], preprocessing };
 * const path = `${await Deno.makeTempDir()}/vit.safetensors`;
 * await savePlainWeights(path, model);
 * console.log((await loadPlainWeights(path)).classNames); // [ "a", "b" ]
 * ```
 */
export async function loadPlainWeights(path: string): Promise<PortableModel> {
  await using reader = await SafetensorsReader.open(path);
  const { entries, metadata } = reader.header;
  if (metadata.format !== format) {
    throw new UserError(
      `${path} is no file of exported weights: its format is ` +
        `${JSON.stringify(metadata.format?.slice(0, 40) ?? "unnamed")}, not "${format}"; ` +
        `make one with deno task export --format safetensors.`,
    );
  }
  const parsed = parseMetadata(metadata, path);
  checkWeightShapes(parsed.config, new Map(entries.map(({ name, shape }) => [name, shape])), path);
  for (const entry of entries) {
    if (entry.dtype !== "F32") {
      throw new UserError(
        `${path} holds ${entry.name} as ${entry.dtype}; only F32 can be loaded.`,
      );
    }
  }
  const weights = new Map<string, FloatTensor>();
  for (const entry of entries) {
    const { shape, data } = tensorOf(entry, await reader.read(entry));
    weights.set(entry.name, { shape, data: data as Float32Array });
  }
  return { ...parsed, weights };
}
