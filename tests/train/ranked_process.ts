/**
 * A rank of ranked_step_test.ts: trains among others while one step of rank 1 alone is NaN, and prints
 * what came of it as JSON.
 */
import { createHash } from "node:crypto";
import { selectBackend } from "../../lib/backend/select.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { findLibrary, sizeVariables } from "../../lib/distributed/libraries.ts";
import { Mpi } from "../../lib/distributed/mpi.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { fit } from "../../lib/train/fit.ts";
import { on, shapes, stillClock, tinyRun } from "./tiny_run.ts";

/** Steps of 13, 13, 13 and 11 images, which two ranks share unevenly. */
const config: RunConfig = { ...tinyRun, batchSize: 13, clipNorm: 0.5, ema: 0.9 };
const bad = 1;

const environment = Object.fromEntries(
  sizeVariables.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
);
const ranks = Mpi.begin(await findLibrary(environment));
await selectBackend("wasm", { threads: 1 });
if (ranks.rank === 1) {
  const { shareValues } = DeviceSplit.prototype;
  DeviceSplit.prototype.shareValues = function (indices, share, config, step) {
    const values = shareValues.call(this, indices, share, config, step);
    if (step === bad) values.transforms!.values.fill(NaN);
    return values;
  };
}
const data = new DeviceDataset(shapes, config);
const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
const skipped: number[] = [];
await fit({
  ...{ config, model, data, ranks, onNan: "skip", clock: stillClock },
  ...on({ step: ({ skippedSteps }) => void skipped.push(skippedSteps) }),
});
const hash = createHash("md5");
let isFinite = true;
for (const variable of namedVariables(model).values()) {
  const values = await variable.data<"float32">();
  hash.update(values.slice());
  isFinite &&= values.every(Number.isFinite);
}
console.log(JSON.stringify({ rank: ranks.rank, skipped, isFinite, weights: hash.digest("hex") }));
ranks.finalize();
