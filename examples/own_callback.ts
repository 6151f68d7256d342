// Listens to a training: draws its losses, and ends it once it has learned enough.
// deno run --allow-read examples/own_callback.ts
import { createShapes, createViTClassifier, DeviceDataset, fit } from "../mod.ts";
import { modelConfigOf, preset, type RunEvent, selectBackend } from "../mod.ts";

const enough = new AbortController();
const goal = 4.5;

function onEvent(event: RunEvent): void {
  if (event.type === "epoch") {
    const { epoch, loss } = event.line;
    console.log(`Epoch ${epoch}: ${"#".repeat(Math.round(8 * loss))} ${loss.toFixed(3)}`);
  }
  if (event.type === "step" && event.loss < goal) enough.abort();
  if (event.type === "notice") console.warn(event.text);
}

await selectBackend("auto");
const config = { ...preset("tiny"), transformerLayers: 1, batchSize: 64, epochs: 20 };
const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
using data = new DeviceDataset(createShapes({ train: 320, test: 10 }), config);
const { complete } = await fit({ config, model, data, onEvent, signal: enough.signal });
console.log(complete ? "All epochs are done." : `The loss fell below ${goal}.`);
