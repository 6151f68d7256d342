/** A foreign model's folder, with float64 logits of three image sizes; see the README of such folders. */
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import {
  atImageSize,
  findForeign,
  type ForeignModel,
  loadForeign,
} from "../../lib/foreign/load.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { shown } from "../../lib/shown.ts";
import { tf } from "../../lib/tfjs.ts";

/** Logits of one image size, ours and the expected ones. */
export interface ForeignComparison {
  name: string;
  actual: Float32Array;
  expected: Float32Array;
  tolerance: number;
}

/** What images are called, what their logits are, and the relative error that these may have. */
const sets = [
  { input: "input.images", output: "output.logits", tolerance: 1e-5 },
  // The position embedding is interpolated.
  { input: "input.larger", output: "output.larger", tolerance: 1e-4 },
  { input: "input.smaller", output: "output.smaller", tolerance: 1e-4 },
];

/**
 * Loads the model of a folder and compares its logits with those of `expected.safetensors`.
 * @param numHeads heads of a model whose files do not say how many
 * @throws {UserError} if the folder holds no such model, or nothing to compare it with.
 */
export async function compareForeign(
  folder: string,
  numHeads?: number,
): Promise<{ model: ForeignModel; compared: ForeignComparison[] }> {
  const files = await findForeign(folder);
  if (!files) throw new UserError(`${folder} holds no model.safetensors; name another folder.`);
  const model = await loadForeign(files, { numHeads });
  const path = `${files.folder}/expected.safetensors`;
  const { tensors } = await readSafetensorsFile(path);
  const compared: ForeignComparison[] = [];
  for (const { input, output, tolerance } of sets) {
    const [images, logits] = [tensors.get(input), tensors.get(output)];
    if (!images || !logits) continue;
    const { channels, numClasses } = model.config;
    const [batch, height, width] = images.shape as [number, number, number];
    const isFitting = images.dtype === "F32" && logits.dtype === "F32" && height === width &&
      `${images.shape}` === `${[batch, height, width, channels]}` &&
      `${logits.shape}` === `${[batch, numClasses]}`;
    if (!isFitting) {
      throw new UserError(
        `${path} is not of this model: its ${input} is ${shown(images.shape)} and its ${output} ` +
          `${shown(logits.shape)}, and ${channels} channels and ${numClasses} classes are needed.`,
      );
    }
    const { config, weights } = atImageSize(model, height!);
    const classifier = createViTClassifier(config, { given: weights });
    const actual = tf.tidy(() => {
      const x = tf.tensor(images.data as Float32Array, [...images.shape]);
      return classifier.apply(x, { training: false }) as tf.Tensor;
    });
    const data = await actual.data<"float32">();
    compared.push({
      name: output,
      actual: data,
      expected: logits.data as Float32Array,
      tolerance,
    });
    actual.dispose();
    classifier.dispose();
  }
  if (compared.length > 0) return { model, compared };
  throw new UserError(`${path} holds no logits that are known, so there is nothing to compare.`);
}
