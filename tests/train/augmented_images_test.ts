import { assertEquals, assertNotEquals } from "@std/assert";
import { augmentationsOf } from "../../lib/augment/list.ts";
import { drawOperationInputs } from "../../lib/augment/operation_inputs.ts";
import { dispatchCount } from "../../lib/backend/compute.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { openImageFolder } from "../../lib/data/open_images.ts";
import type { ImageSplit } from "../../lib/data/dataset.ts";
import { augmentBatch, packImages } from "../../lib/kernels/augment_batch/augment_batch.ts";
import { imageOperations } from "../../lib/kernels/image_operations/image_operations.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../data/fixtures.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";
import { valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";

const preprocessing = preprocessingOf(shapes.train);
const indices = Int32Array.of(70, 3, 3, 41, 0);
const size = 8;

/** The images of a step that has such a list, from some of its rows; and the passes that it took. */
async function imagesOf(
  split: DeviceSplit,
  augment: string,
  [from, to]: readonly [number, number] = [0, indices.length],
  images = indices,
): Promise<{ values: Float32Array; passes: number }> {
  const config = { ...tinyRun, flip: false, rotation: 0, zoom: 0, augment };
  const inputs = tensorsOf(split.trainingValues(images, config, 5));
  const before = dispatchCount;
  const made = tf.tidy(() => {
    const rows = Object.fromEntries(
      Object.entries(inputs).map(([name, rows]) => [name, tf.slice(rows, from, to - from)]),
    );
    return split.batch(rows, size).images;
  });
  const passes = dispatchCount - before;
  const values = await valuesOf(made);
  tf.dispose([inputs, made]);
  return { values, passes };
}

forEachBackend(
  "a batch is gathered, changed by each round, and normalized at last",
  async (backend) => {
    const split = new DeviceSplit(shapes.train, preprocessing);
    const augment = "randaugment(2,9)|erase(0.5)";
    const { operations0, operations1, erased } = drawOperationInputs({
      ...{ batch: indices.length, size, seed: tinyRun.seed, step: 5 },
      augmentations: augmentationsOf({ ...tinyRun, augment }),
    });
    const expected = tf.tidy(() => {
      const rows = tensorsOf<Record<string, tf.Tensor2D>>({
        ...{ operations0: operations0!, operations1: operations1!, erased: erased! },
      });
      const levels = augmentBatch(
        packImages(shapes.train.images, 32 * 32 * 3),
        tf.tensor1d(indices, "int32"),
        null,
        { ...preprocessing, mean: [0, 0, 0], variance: [1, 1, 1], size },
      );
      const once = imageOperations(levels, rows.operations0!);
      return imageOperations(once, rows.operations1!, { ...preprocessing, erased: rows.erased! });
    });
    const { values, passes } = await imagesOf(split, augment);
    assertEquals(values, await valuesOf(expected));
    assertNotEquals(values, (await imagesOf(split, "none")).values);
    if (backend === "webgpu") assertEquals(passes, 3);
    expected.dispose();
    split.dispose();
  },
);

forEachBackend(
  "a list without operations stays one pass, and erasing alone makes it two",
  async () => {
    const split = new DeviceSplit(shapes.train, preprocessing);
    const passes: Record<string, number> = {};
    for (
      const list of ["flip|resizedcrop(0.5)", "jitter(0,0,0)", "erase(1)", "jitter(0.4,0.4,0)"]
    ) {
      passes[list] = (await imagesOf(split, list)).passes;
    }
    assertEquals(Object.values(passes), [1, 1, 2, 3]);
    split.dispose();
  },
  { backends: ["webgpu"] },
);

forEachBackend("erasing alone leaves the other pixels their bytes", async () => {
  const split = new DeviceSplit(shapes.train, preprocessing);
  const { values } = await imagesOf(split, "erase(1)");
  const plain = (await imagesOf(split, "none")).values;
  const holes = values.filter((value) => value === 0).length;
  // Normalizing in one pass or in two rounds apart.
  const others = values.map((value, i) => {
    return value === 0 || Math.abs(value - plain[i]!) < 1e-5 ? 0 : 1;
  });
  assertEquals([holes > 0, holes < values.length / 2, others.includes(1)], [true, true, false]);
  split.dispose();
});

forEachBackend("parts of a batch have the images of the whole", async () => {
  const split = new DeviceSplit(shapes.train, preprocessing);
  const list = "flip|randaugment(1,20)|jitter(0.4,0.4,0.4)|erase(0.5)";
  const { values } = await imagesOf(split, list);
  const parts = [];
  for (const range of [[0, 2], [2, 5]] as const) {
    parts.push(...(await imagesOf(split, list, range)).values);
  }
  assertEquals(parts, [...values]);
  split.dispose();
});

forEachBackend(
  "a streamed split has the images of one in memory",
  () =>
    inFolder(async (folder) => {
      await writeTree(`${folder}/photos`, classesOf(["a", "b", "c"], 12));
      const open = async (deviceData: number) => {
        const { train } = await openImageFolder(`${folder}/photos`, {
          ...{
            storedSize: 9,
            deviceData,
            limit: 0,
            workers: 1,
            preparedRoot: `${folder}/prepared`,
          },
        });
        return train;
      };
      const wanted = Int32Array.of(4, 0, 1, 4, 7);
      const images = async (train: ImageSplit) => {
        const split = new DeviceSplit(train, { ...preprocessing, height: 9, width: 9 });
        await split.ready(wanted);
        const made = await imagesOf(split, "flip|trivialaugment|erase(0.5)", [0, 5], wanted);
        split.dispose();
        return made.values;
      };
      assertEquals(await images(await open(0)), await images(await open(Infinity)));
    }),
);
