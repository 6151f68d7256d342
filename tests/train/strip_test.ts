import { assertEquals } from "@std/assert";
import { startOfRun } from "../../lib/checkpoint/progress.ts";
import { batchAt, DeviceSplit, epochOrder } from "../../lib/train/batches.ts";
import { splitDataset } from "../../lib/train/device_dataset.ts";
import { trainingStrip } from "../../lib/train/strip.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { shapes, tinyRun } from "./tiny_run.ts";

/** Twelve images and the gaps between them. */
const width = 12 * 32 + 11 * 2;

for (const augment of ["", "flip|crop(4)|erase(1)|mixup(0.8)"]) {
  forEachBackend(
    `the strip has the images of the next step, augmented by "${augment}"`,
    async () => {
      const config = { ...tinyRun, imageSize: 32, patchSize: 8, augment };
      const progress = { ...startOfRun(), step: 4, epoch: 1, positionInEpoch: 1 };
      const strip = await trainingStrip(shapes, config, progress);
      assertEquals([strip.width, strip.height, strip.channels], [width, 32, 3]);

      // The whole batch, as the step makes it.
      const { train } = splitDataset(shapes, config);
      const preprocessing = {
        ...{ height: 32, width: 32, channels: 3 },
        ...{ mean: [128, 128, 128], variance: [1, 1, 1] },
      };
      const split = new DeviceSplit(train, preprocessing);
      const indices = batchAt(epochOrder(train.count, config.seed, 1), 1, config.batchSize);
      const images = tf.tidy(() =>
        split.batch(tensorsOf(split.trainingValues(indices, config, 4)), 32).images
      );
      const values = await images.data();
      tf.dispose(images);
      split.dispose();
      for (const i of [0, 11]) {
        const [y, x] = [9, 17];
        const at = (y * width + i * 34 + x) * 3;
        const from = ((i * 32 + y) * 32 + x) * 3;
        const expected = Uint8ClampedArray.from(values.slice(from, from + 3), (v) => v + 128);
        assertEquals([...strip.data.slice(at, at + 3)], [...expected], `image ${i}`);
      }
    },
  );
}

forEachBackend("an epoch that waits for its validation shows the next one's images", async () => {
  const config = { ...tinyRun, imageSize: 32, patchSize: 8 };
  const at = (epoch: number, positionInEpoch: number) =>
    trainingStrip(shapes, config, { step: 3, epoch, positionInEpoch });
  assertEquals(await at(0, 3), await at(1, 0));
}, { backends: ["cpu"] });
