import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { type InputValues, tensorsOf } from "../../lib/capture/repeated.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { openImageFolder } from "../../lib/data/open_images.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { type Batch, DeviceSplit } from "../../lib/train/batches.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { rangeOf, sharesOf } from "../../lib/train/shares.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../data/fixtures.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";
import { valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";

/** Draws everything that an image of a batch may have of its own. */
const recipe: RunConfig = {
  ...tinyRun,
  ...{ flip: false, rotation: 0, zoom: 0, imageSize: 8 },
  augment: "flip|crop(1)|randaugment(1,9)|erase(0.5)|mixup(0.8)|cutmix(1)",
};

const indices = Int32Array.of(70, 3, 12, 41, 8, 9, 10);

Deno.test("ranks share out every image once, evenly", () => {
  for (const [count, size] of [[7, 2], [7, 3], [4, 4], [2, 4], [0, 2]] as const) {
    const ranges = Array.from({ length: size }, (_, rank) => rangeOf(count, { rank, size }));
    assertEquals(ranges[0]!.from, 0);
    assertEquals(ranges.at(-1)!.to, count);
    ranges.slice(1).forEach(({ from }, i) => assertEquals(from, ranges[i]!.to));
    const counts = ranges.map(({ from, to }) => to - from);
    assert(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
  }
});

Deno.test("each part of a batch is shared, and weights are the shares of the whole", () => {
  // Parts of 4, 4 and 1 images.
  const shares = [0, 1].map((rank) => sharesOf(9, 4, { rank, size: 2 }));
  assertEquals(shares[0], [
    { from: 0, first: 0, images: 2, weight: 2 / 9 },
    { from: 4, first: 0, images: 2, weight: 2 / 9 },
    // None is left for it: the one that stands in weighs nothing.
    { from: 8, first: 0, images: 1, weight: 0 },
  ]);
  assertEquals(shares[1], [
    { from: 2, first: 2, images: 2, weight: 2 / 9 },
    { from: 6, first: 2, images: 2, weight: 2 / 9 },
    { from: 8, first: 0, images: 1, weight: 1 / 9 },
  ]);
  const weights = shares.flat().map(({ weight }) => weight);
  assertAlmostEquals(weights.reduce((sum, weight) => sum + weight), 1);
});

/** Rows of an input, and how many of them are of a share: one more where a partner stands there. */
function rowsOf({ values }: InputValues, count: number): number[][] {
  const width = values.length / count;
  return Array.from({ length: count }, (_, i) => [...values.subarray(i * width, (i + 1) * width)]);
}

for (const augment of [recipe.augment, "flip|crop(1)"]) {
  forEachBackend(`a share has the rows of its images in the whole batch (${augment})`, () => {
    const config = { ...recipe, augment };
    const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
    // Both kinds of mixing are among these.
    for (let step = 0; step < 6; step++) {
      const whole = split.trainingValues(indices, config, step);
      for (
        const share of [{ from: 0, images: 3 }, { from: 3, images: 4 }, { from: 2, images: 1 }]
      ) {
        const found = split.shareValues(indices, share, config, step);
        assertEquals(Object.keys(found).sort(), Object.keys(whole).sort());
        for (const [name, values] of Object.entries(found)) {
          if (name === "mix") assertEquals(values, whole.mix);
          else {
            const all = rowsOf(whole[name]!, whole[name]!.shape[0]!);
            const expected = all.slice(share.from, share.from + values.shape[0]!);
            assertEquals(rowsOf(values, values.shape[0]!), expected, name);
          }
        }
      }
    }
    split.dispose();
  }, { backends: ["cpu"] });
}

forEachBackend("dropout of shares is that of the whole batch", async () => {
  const config: RunConfig = {
    ...tinyRun,
    ...{ dropPath: 0.5, attentionDropout: 0.3, mlpDropout: 0.3, headDropout: 0.3 },
    mlpHeadUnits: [12],
  };
  const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
  const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  const logitsOf = async (from: number, images: number, key: number[]) => {
    const logits = tf.tidy(() => {
      const inputs = tensorsOf(split.evaluationValues(indices.slice(from, from + images)));
      const batch = split.batch(inputs, config.imageSize);
      const stepKey = tf.tensor1d(key, "int32");
      return model.apply(batch.images, { training: true, stepKey }) as tf.Tensor;
    });
    const values = await valuesOf(logits);
    logits.dispose();
    return [...values];
  };
  const whole = await logitsOf(0, 7, [3, 5]);
  const shares = [
    ...await logitsOf(0, 3, [3, 5, 0]),
    ...await logitsOf(3, 4, [3, 5, 3]),
  ];
  shares.forEach((value, i) => assertAlmostEquals(value, whole[i]!, 1e-4, `logit ${i}`));
  const again = await logitsOf(3, 4, [3, 5, 0]);
  assertNotEquals(
    again.map((x) => x.toFixed(3)),
    shares.slice(-again.length).map((x) => x.toFixed(3)),
  );
  split.dispose();
  model.dispose();
});

/** The images that a share's values make, in one row. */
async function imagesOf(split: DeviceSplit, values: Record<string, InputValues>) {
  const { images, labels: { first, second, share } } = tf.tidy(() => {
    return split.batch(tensorsOf(values), recipe.imageSize) as unknown as
      & Batch
      & tf.TensorContainer;
  });
  const found = await valuesOf(images);
  tf.dispose([images, first, ...(second ? [second] : []), ...(share ? [share] : [])]);
  return found;
}

forEachBackend(
  "streamed shares are made of the images that were waited for",
  () =>
    inFolder(async (folder) => {
      await writeTree(`${folder}/photos`, classesOf(["a", "b"], 8));
      const open = (deviceData: number) =>
        openImageFolder(`${folder}/photos`, {
          ...{ storedSize: 9, deviceData, workers: 1, preparedRoot: `${folder}/prepared` },
        });
      using streamed = new DeviceDataset(await open(0), { limit: 0, validationSplit: 0 });
      using held = new DeviceDataset(await open(1e9), { limit: 0, validationSplit: 0 });
      const batch = Int32Array.of(3, 0, 5, 2);
      const shares = sharesOf(4, 2, { rank: 1, size: 2 });
      const wanted = shares.flatMap((share) => [...streamed.train.imagesOf(batch, share, recipe)]);
      await streamed.train.ready(Int32Array.from(wanted));
      for (const share of shares) {
        const [found, expected] = [streamed, held].map(({ train }) => {
          return imagesOf(train, train.shareValues(batch, share, recipe, 2));
        });
        assertEquals(await found, await expected);
      }
    }),
  { backends: ["cpu"] },
);
