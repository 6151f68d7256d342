/**
 * Whether the step of `jax_vit.ts` is ours: both from the same weights on the same images, without
 * dropout and augmentation.
 *
 *     deno run --allow-read --allow-env=XDG_RUNTIME_DIR bench/peers/jax_check.ts tiny wasm
 *
 * Ends with 1 where a loss differs by more than 1e-3.
 */
import type { Device } from "@jax-js/jax";
import { selectBackend } from "../../lib/backend/select.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { channelStatistics } from "../../lib/data/dataset.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { createOurSide, valuesOf } from "../sides.ts";
import { type HostBatch, trainingSteps, type Values } from "./jax_vit.ts";

const STEPS = 10;
const TOLERANCE = 1e-3;

const [name = "tiny", device = "wasm"] = Deno.args;
const batchSize = 8;
const config: RunConfig = {
  ...preset(name),
  ...{ batchSize, flip: false, rotation: 0, zoom: 0, augment: "" },
  ...{ attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
};
const dataset = createShapes({ train: batchSize, test: 1 });

/** The batch as our step sees it. */
async function batchOf(): Promise<HostBatch> {
  const { height, width, channels, train } = dataset;
  const how = { height, width, channels, ...channelStatistics(train, channels) };
  const split = new DeviceSplit(train, how);
  const records = Int32Array.from({ length: batchSize }, (_, i) => i);
  const inputs = tensorsOf(split.trainingValues(records, config, 0));
  const { images } = split.batch(inputs, config.imageSize);
  const data = (await images.data<"float32">()).slice();
  return { images: { shape: images.shape, data }, labels: Int32Array.from(split.labels) };
}

await selectBackend("wasm");
const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
const initial = await valuesOf(namedVariables(model)) as Map<string, Values>;
const side = createOurSide(config, dataset);
const step = await trainingSteps(config, device as Device, initial, await batchOf());
console.log(`${name}, losses of ${STEPS} steps on one batch: ours, jax-js on ${device}`);
let most = 0;
for (let i = 0; i < STEPS; i++) {
  await side.step();
  const [ours, theirs] = [await side.loss(), await step()];
  most = Math.max(most, Math.abs(ours - theirs));
  console.log(ours.toFixed(5), theirs.toFixed(5));
}
console.log(`They differ by ${most.toExponential(1)} at most.`);
Deno.exit(most <= TOLERANCE ? 0 : 1);
