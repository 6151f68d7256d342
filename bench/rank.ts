/**
 * A process of ranks.ts, alone or among ranks: trains for the steps of one epoch, and prints the
 * milliseconds of each. Arguments: one JSON object, see below.
 */
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf, type RunConfig } from "../lib/config/run.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { findLibrary, sizeVariables } from "../lib/distributed/libraries.ts";
import { Mpi } from "../lib/distributed/mpi.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { DeviceDataset } from "../lib/train/device_dataset.ts";
import { fit } from "../lib/train/fit.ts";

/** What the process is told. */
export interface RankArguments {
  config: RunConfig;
  steps: number;
  /** Of this process. */
  threads: number;
  /** Whether a launcher has started others beside it. */
  isRanked: boolean;
}

const { config, steps, threads, isRanked } = JSON.parse(Deno.args[0]!) as RankArguments;
const environment = Object.fromEntries(
  sizeVariables.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
);
const ranks = isRanked ? Mpi.begin(await findLibrary(environment)) : undefined;
await selectBackend("wasm", { threads });
const dataset = createShapes({ train: steps * config.batchSize, test: 1 });
const ownConfig = { ...config, epochs: 1, limit: 0, validationSplit: 0 };
const data = new DeviceDataset(dataset, ownConfig);
const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
const times: number[] = [];
let last = NaN;
await fit({
  ...{ config: ownConfig, model, data, ranks },
  onEvent: ({ type }) => {
    if (type !== "step") return;
    const now = performance.now();
    if (!Number.isNaN(last)) times.push(now - last);
    last = now;
  },
});
if (!ranks || ranks.rank === 0) console.log(JSON.stringify(times));
ranks?.finalize();
Deno.exit(0);
