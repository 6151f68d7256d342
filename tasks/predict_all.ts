/** Images read, classified and printed a batch at a time. */
import { UserError } from "../lib/errors.ts";
import type { PredictionFormat } from "../lib/report/predictions.ts";
import { type Classifier, imagesAtOnce } from "../lib/train/predict.ts";
import { readImage } from "./image_files.ts";
import type { Lines } from "./lines.ts";

/** How {@linkcode predictAll} does it. */
export interface PredictOptions {
  classifier: Classifier;
  /** How many classes an image. */
  top: number;
  format: PredictionFormat;
  lines: Lines;
}

/**
 * Classifies and prints a batch at a time, so that no more pictures than those are in memory. On a
 * terminal a line says how many are done.
 * @param files paths, and in place of what is none the reason
 * @returns whether all could be read
 */
export async function predictAll(
  files: readonly (string | UserError)[],
  { classifier, top, format, lines }: PredictOptions,
): Promise<boolean> {
  let isGood = true;
  // One bad file is no reason to say nothing of the others; it is named where it stood.
  let waiting: { file: string; found: Uint8Array | UserError }[] = [];
  let good = 0;
  const flush = async () => {
    const images = waiting.map(({ found }) => found).filter((found) => found instanceof Uint8Array);
    const predictions = images.length > 0 ? await classifier.classify(images, top) : [];
    for (const { file, found } of waiting) {
      if (found instanceof UserError) lines.error(`error: ${found.message}`);
      else for (const line of format.lines(file, predictions.shift()!)) lines.say(line);
    }
    waiting = [];
    good = 0;
  };
  if (format.head !== null) lines.say(format.head);
  for (const [done, file] of files.entries()) {
    lines.evaluation("Classifying", done, files.length);
    const found = file instanceof UserError ? file : await prepared(file, classifier);
    waiting.push({ file: String(file), found });
    if (found instanceof UserError) isGood = false;
    else good++;
    if (good === imagesAtOnce || waiting.length === 10 * imagesAtOnce) await flush();
  }
  await flush();
  return isGood;
}

/** One at a time: a photograph takes a hundred times the memory of what is kept of it. */
async function prepared(file: string, classifier: Classifier): Promise<Uint8Array | UserError> {
  try {
    return classifier.prepared(await readImage(file, classifier.size));
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}
