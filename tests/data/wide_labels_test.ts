import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import type { ImageDataset, ImageSplit, Labels } from "../../lib/data/dataset.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { evaluateEach } from "../../lib/train/evaluate.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { preprocessingOf, shapes, tinyRun, train } from "../train/tiny_run.ts";

const CLASSES = 300;
const config: RunConfig = { ...tinyRun, numClasses: CLASSES, epochs: 1 };

/** The images of `shapes` under labels of 300 classes, most of them above 255. */
function relabelled(split: ImageSplit, kind: new (of: number[]) => Labels): ImageSplit {
  const labels = Array.from({ length: split.count }, (_, i) => i % 4 === 0 ? i : 299 - i % 40);
  return { ...split, labels: new kind(labels) };
}

for (const kind of [Uint16Array, Int32Array] as const) {
  forEachBackend(
    `300 classes in a ${kind.name} are trained on and told apart`,
    () =>
      inFolder(async (folder) => {
        const dataset: ImageDataset = {
          ...shapes,
          classNames: Array.from({ length: CLASSES }, (_, i) => `class ${i}`),
          train: relabelled(shapes.train, kind),
          test: relabelled(shapes.test, kind),
        };
        const { result } = await train(`${folder}/run`, config, { dataset });
        assert(Number.isFinite(result.test!.loss), `${result.test!.loss}`);

        // Logits that are the bias alone, so that a label's loss is known.
        const bias = Float32Array.from({ length: CLASSES }, (_, i) => i / 50);
        const model = createViTClassifier(modelConfigOf(config));
        const variables = namedVariables(model);
        tf.tidy(() => {
          const kernel = variables.get("classifier.kernel")!;
          kernel.assign(tf.zerosLike(kernel));
          variables.get("classifier.bias")!.assign(tf.tensor1d(bias));
        });
        const split = new DeviceSplit(dataset.test, preprocessingOf(shapes.train));
        const perImage = await evaluateEach(model, split, config);
        const sum = bias.reduce((total, logit) => total + Math.exp(logit), 0);
        dataset.test.labels.forEach((label, i) => {
          assertAlmostEquals(perImage[3 * i]!, Math.log(sum) - bias[label]!, 1e-4);
          assertEquals(perImage[3 * i + 2], label >= CLASSES - 5 ? 1 : 0, `top-5 of ${label}`);
        });
        split.dispose();
        model.dispose();
      }),
  );
}
