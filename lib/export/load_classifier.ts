import "../models/vit_classifier.ts";
import { tf } from "../tfjs.ts";
import { type ModelMetadata, parseMetadata } from "./metadata.ts";

/** Model of the export, ready to predict, with what that takes. */
export interface LoadedClassifier extends ModelMetadata {
  /** From normalized images `[batch, imageSize, imageSize, channels]` to logits. */
  model: tf.LayersModel;
}

/** Options of {@linkcode loadClassifier}. */
export interface LoadClassifierOptions {
  /** Told which share of the weights has come, 0 to 1. */
  onProgress?: (share: number) => void;
}

/**
 * Loads what `deno task export --format layers-model` has written, onto the current backend.
 *
 * @param url of its `model.json`, `https:` or `http:` in a browser, `file:` in Deno
 * @throws {UserError} when its metadata cannot be used
 * @throws {Error} when tfjs cannot load it
 *
 * @example
 * ```ts
 * import { createViTClassifier, loadClassifier, modelConfigOf, preset } from "../../mod.ts";
 * import { selectBackend } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const config = modelConfigOf({ ...preset("tiny"), numClasses: 2 });
 * const model = createViTClassifier(config);
 * const [mean, variance] = [[0, 0, 0], [1, 1, 1]];
 * const preprocessing = { height: 32, width: 32, channels: 3, mean, variance };
 * model.setUserDefinedMetadata({
 *   config: JSON.stringify(config),
 *   classNames: JSON.stringify(["a", "b"]),
 *   preprocessing: JSON.stringify(preprocessing),
 * });
 * const folder = await Deno.makeTempDir();
 * await model.save(`file://${folder}`);
 * const loaded = await loadClassifier(`file://${folder}/model.json`);
 * console.log(loaded.classNames); // [ "a", "b" ]
 * ```
 */
export async function loadClassifier(
  url: string,
  { onProgress }: LoadClassifierOptions = {},
): Promise<LoadedClassifier> {
  const model = await tf.loadLayersModel(url, { onProgress });
  try {
    return { model, ...parseMetadata({ ...model.getUserDefinedMetadata() }, url) };
  } catch (error) {
    model.dispose();
    throw error;
  }
}
