// Trains on images that a program makes: is it warm or cold?
// deno run --allow-read examples/train_arrays.ts
import { createDataset, createViTClassifier, DeviceDataset, evaluate, fit } from "../mod.ts";
import { modelConfigOf, preset, selectBackend } from "../mod.ts";

const [count, side] = [240, 32];
const labels = Array.from({ length: count }, (_, i) => i % 2);
const images = Uint8Array.from({ length: count * side * side * 3 }, (_, i) => {
  const label = labels[Math.floor(i / (side * side * 3))]!;
  const isStrong = i % 3 === (label === 0 ? 0 : 2); // red is the first channel, blue the last
  return (isStrong ? 180 : 40) + (i * i) % 70;
});
const classNames = ["warm", "cold"];
const dataset = createDataset({
  images,
  labels,
  classNames,
  height: side,
  width: side,
  channels: 3,
});

await selectBackend("auto");
const config = { ...preset("tiny"), numClasses: 2, transformerLayers: 1, batchSize: 16, epochs: 2 };
const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
using data = new DeviceDataset(dataset, config);
await fit({ config, model, data });
const { accuracy } = await evaluate(model, data.test, config);
console.log(`Test accuracy: ${(100 * accuracy).toFixed(1)} %`);
