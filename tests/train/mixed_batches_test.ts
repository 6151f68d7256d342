/** Batches that are mixed: what becomes of images and labels, when, and in parts. */
import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { augmentationsOf } from "../../lib/augment/list.ts";
import { ofKind } from "../../lib/augment/listed.ts";
import { drawMix, labelShareOf } from "../../lib/augment/mixing.ts";
import { type InputValues, tensorsOf } from "../../lib/capture/repeated.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { type Batch, DeviceSplit } from "../../lib/train/batches.ts";
import { stepGradients, stepValues } from "../../lib/train/step.ts";
import { forEachBackend } from "../backends.ts";
import { valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";
import { assertSameGradients } from "./gradients.ts";

const mixed: RunConfig = {
  ...tinyRun,
  ...{ flip: false, rotation: 0, zoom: 0, augment: "flip|crop(1)|mixup(0.8)|cutmix(1)" },
  ...{ attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
};
const size = mixed.imageSize;
const indices = Int32Array.of(70, 3, 12, 41, 8);

const splitOf = () => new DeviceSplit(shapes.train, preprocessingOf(shapes.train));

function batchOf(split: DeviceSplit, values: Record<string, InputValues>): Batch {
  return tf.tidy(() =>
    split.batch(tensorsOf(values), size) as unknown as Batch & tf.TensorContainer
  );
}

function disposeBatch({ images, labels: { first, second, share } }: Batch): void {
  tf.dispose([images, first, ...(second ? [second] : []), ...(share ? [share] : [])]);
}

/** A step whose batch is mixed by weight, one with a box, and where both stand in `mixed`. */
const stepsOf = (config: RunConfig) => {
  const mixes = ofKind(augmentationsOf(config), "mix");
  const drawn = Array.from({ length: 20 }, (_, step) => {
    return { step, mix: drawMix({ seed: config.seed, step, size, mixes }) };
  });
  return [
    drawn.find(({ mix: { share } }) => share > 0.1 && share < 0.9)!,
    drawn.find(({ mix }) => mix.share === 1 && labelShareOf(mix, size) < 0.9)!,
  ];
};

forEachBackend("a batch is mixed as a float64 loop mixes it, and so are its labels", async () => {
  const split = splitOf();
  for (const { step, mix } of stepsOf(mixed)) {
    // What the same step makes of each image without mixing.
    const plain = batchOf(
      split,
      split.trainingValues(indices, { ...mixed, augment: "flip|crop(1)" }, step),
    );
    const batch = batchOf(split, split.trainingValues(indices, mixed, step));
    const [from, found] = [await valuesOf(plain.images), await valuesOf(batch.images)];
    const ofImage = size * size * 3;
    const [left, top, right, bottom] = mix.box;
    found.forEach((value, i) => {
      const pixel = Math.floor(i / 3);
      const [x, y] = [pixel % size, Math.floor(pixel / size) % size];
      const isInside = x >= left && x < right && y >= top && y < bottom;
      const share = isInside ? 0 : mix.share;
      const partner = from[(i + ofImage) % from.length]!;
      assertAlmostEquals(
        value,
        share * from[i]! + (1 - share) * partner,
        1e-5,
        `step ${step}, ${i}`,
      );
    });
    const labels = [...indices].map((index) => shapes.train.labels[index]!);
    const { first, second, share } = batch.labels;
    assertEquals([...await first.data()], labels);
    assertEquals([...await second!.data()], [...labels.slice(1), labels[0]!]);
    assertEquals(await valuesOf(share!), new Float32Array(5).fill(labelShareOf(mix, size)));
    disposeBatch(plain);
    disposeBatch(batch);
  }
  split.dispose();
});

/** Statistics and gradients of a step, by name. */
async function gradientsAt(config: RunConfig, step: number, images: number) {
  const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
  const variables = [...namedVariables(model).values()];
  const [optimizer, train] = [new AdamW(), splitOf()];
  const parts = { config, model, variables, optimizer, train };
  const { stats, gradients } = tf.tidy(() => {
    const values = stepValues(parts, Int32Array.from({ length: images }, (_, i) => i), step);
    const made = stepGradients(parts, tensorsOf(values));
    return made as typeof made & tf.TensorContainer;
  });
  const found = new Map([["stats", await valuesOf(stats)]]);
  for (const [i, { name }] of variables.entries()) {
    found.set(`${i}`, await valuesOf(gradients[name]!));
  }
  tf.dispose([stats, gradients]);
  for (const part of [model, optimizer, train]) part.dispose();
  return found;
}

forEachBackend("an accumulated step of a mixed batch has the gradients of the whole", async () => {
  const [byWeight, inBox] = stepsOf(mixed);
  // With a smaller last part, and in parts of one image.
  for (const [{ step }, accumulate, images] of [[byWeight!, 4, 13], [inBox!, 20, 5]] as const) {
    const whole = await gradientsAt(mixed, step, images);
    const parts = await gradientsAt({ ...mixed, accumulate }, step, images);
    assertSameGradients(parts, whole, `${images} in parts of ${20 / accumulate}`);
  }
});

Deno.test("mixing stops after its epochs, and the inputs of a step stay the same", () => {
  const mixesAt = (config: RunConfig, step: number, records = indices) => {
    const values = split.trainingValues(records, config, step);
    return {
      names: Object.keys(values),
      mix: [...values.mix!.values],
      share: values.share!.values,
    };
  };
  using stack = new DisposableStack();
  const split = stack.adopt(splitOf(), (each) => each.dispose());
  // 75 images are four steps of 20 an epoch.
  const config = { ...mixed, augment: "mixup(1)", mixEpochs: 2 };
  const before = mixesAt(config, 7);
  const after = mixesAt(config, 8);
  assert(before.mix[0]! < 1);
  assertEquals(before.mix, mixesAt({ ...config, mixEpochs: 0 }, 7).mix);
  assertEquals(after.mix, [1, 0, 0, 0, 0]);
  assertEquals(after.share, new Float32Array(5).fill(1));
  assertEquals(after.names, before.names);
  assertNotEquals(mixesAt({ ...config, mixEpochs: 0 }, 8).mix, after.mix);
  // Of one image nothing can be mixed.
  assertEquals(mixesAt(config, 0, indices.subarray(0, 1)).mix, after.mix);
});

forEachBackend(
  "a batch that is not mixed has its images to the bit and its labels' loss",
  async () => {
    const config = { ...mixed, augment: "flip|crop(1)|mixup(0.8,0)" };
    const plain = { ...mixed, augment: "flip|crop(1)" };
    assertEquals(await gradientsAt(config, 1, 5), await gradientsAt(plain, 1, 5));
  },
);
