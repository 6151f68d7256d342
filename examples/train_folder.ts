// Trains on a folder of pictures, one folder a class, and keeps the run, as `deno task train` does.
// deno run --allow-read --allow-write examples/train_folder.ts PHOTOS RUN
import { createRunFolder, openImageFolder, preset, selectBackend, trainRun } from "../mod.ts";

const [photos, out] = Deno.args;
if (!photos || !out) throw new Error("Give the folder of pictures, and a new one for the run.");

await selectBackend("auto");
const dataset = await openImageFolder(photos, { imageSize: 32, preparedRoot: `${out}-prepared` });
console.log(`${dataset.train.count} pictures to learn from: ${dataset.classNames.join(", ")}`);

const config = {
  ...preset("tiny"),
  numClasses: dataset.classNames.length,
  batchSize: Math.min(64, dataset.train.count),
  epochs: 2,
};
const folder = await createRunFolder(out, config);
const { test } = await trainRun({ config, dataset, folder });
console.log(`Test accuracy: ${(100 * test!.accuracy).toFixed(1)} %; see deno task eval ${out}`);
