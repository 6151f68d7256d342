// Trains on images that a program makes: which half of the image is brighter?
// deno run --allow-read examples/train_arrays.ts
import { createDataset, createViTClassifier, DeviceDataset, evaluate, fit } from "../mod.ts";
import { modelConfigOf, preset, selectBackend } from "../mod.ts";

const [count, side] = [200, 32];
const labels = Array.from({ length: count }, (_, i) => i % 2);
const images = new Uint8Array(count * side * side * 3);
labels.forEach((label, image) => {
  for (let y = 0; y < side; y++) {
    const brightness = (y < side / 2) === (label === 0) ? 200 : 60;
    const row = (image * side + y) * side * 3;
    images.fill(brightness + image % 50, row, row + side * 3);
  }
});
const classNames = ["bright top", "bright bottom"];
const dataset = createDataset({
  images,
  labels,
  classNames,
  height: side,
  width: side,
  channels: 3,
});

await selectBackend("auto");
const config = { ...preset("tiny"), numClasses: 2, transformerLayers: 1, batchSize: 32, epochs: 2 };
const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
using data = new DeviceDataset(dataset, config);
await fit({ config, model, data });
const { accuracy } = await evaluate(model, data.test, config);
console.log(`Test accuracy: ${(100 * accuracy).toFixed(1)} %`);
