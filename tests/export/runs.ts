/** Runs whose weights are random. */
import type { ViTConfig } from "../../lib/config/model.ts";
import { preset, type RunConfig } from "../../lib/config/run.ts";
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { saveWeights } from "../../lib/checkpoint/state.ts";
import type { PortableModel } from "../../lib/export/portable_model.ts";
import { smallConfig, somePortable } from "./models.ts";

/** Names that a page would suffer from if it took them for more than text. */
export const hostileNames: readonly string[] = [
  "<script>document.title = 'owned'</script>",
  "<img src=x onerror=\"document.title = 'owned'\">",
  "&lt;b&gt; \"quoted\" 'twice'",
  "a class whose name is longer than the screen of a phone ".repeat(4).trim(),
  "\u202eright to left",
  "猫",
];

/** A model of 36 tokens that no two pictures are alike to, of 32 pixels, with {@linkcode hostileNames}. */
export const hostileModel: PortableModel = {
  ...somePortable(smallConfig({ imageSize: 24, pooling: "flatten", numClasses: 6 })),
  classNames: hostileNames,
};

/** Writes a run of a model, as training leaves it behind. */
export async function writeRun(path: string, portable: PortableModel): Promise<string> {
  const config: RunConfig = { ...preset("tiny"), ...portable.config satisfies ViTConfig };
  const run = await createRunFolder(path, config);
  const { weights, preprocessing, classNames } = portable;
  await saveWeights(run.best, {
    weights,
    config,
    preprocessing,
    classNames: [...classNames],
    step: 12,
    epoch: 12,
    positionInEpoch: 0,
    seed: 1,
    bestValAccuracy: 0.5,
    dataset: { name: "shapes", identity: "ab", trainCount: 100 },
    sums: { loss: 0, top1: 0, top5: 0, images: 0 },
    versions: {},
  });
  return run.path;
}
