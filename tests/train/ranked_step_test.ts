/** Ranks as the trainer has them; as a user starts them they are in tests/tasks/train_mpi_test.ts. */
import { assert, assertEquals } from "@std/assert";
import { preset, type RunConfig } from "../../lib/config/run.ts";
import type { Ranks } from "../../lib/distributed/ranks.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { modelConfigOf } from "../../lib/config/run.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { fit } from "../../lib/train/fit.ts";
import { forEachBackend } from "../backends.ts";
import { denoWithMpi, forEachLibrary, launch } from "../distributed/mpirun.ts";
import { tinyModel, valuesOf } from "../models/tiny_model.ts";
import { jsonLines } from "../tasks/run_task.ts";
import { shapes, stillClock } from "./tiny_run.ts";

/** A rank by itself: what it sums are its own numbers. */
const only: Ranks = {
  ...{ rank: 0, size: 1, processor: "here" },
  ...{ sum: () => {}, broadcast: () => {}, barrier: () => {} },
};

const config: RunConfig = {
  ...preset("tiny"),
  ...tinyModel,
  ...{ batchSize: 20, accumulate: 2, epochs: 2, validationSplit: 1 / 3, clipNorm: 0.5, ema: 0.9 },
};

async function trained(ranks?: Ranks) {
  using data = new DeviceDataset(shapes, config);
  const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
  const { history } = await fit({ config, model, data, ranks, clock: stillClock });
  const weights = [];
  for (const variable of namedVariables(model).values()) weights.push(...await valuesOf(variable));
  model.dispose();
  return { history, weights };
}

forEachBackend("one rank trains as a process without ranks", async () => {
  const [plain, ranked] = [await trained(), await trained(only)];
  assertEquals(ranked.history.length, 2);
  ranked.history.forEach((line, i) => {
    assert(Math.abs(line.loss / plain.history[i]!.loss - 1) < 1e-5);
    assert(Math.abs(line.emaValLoss! / plain.history[i]!.emaValLoss! - 1) < 1e-5);
  });
  const furthest = Math.max(...ranked.weights.map((w, i) => Math.abs(w - plain.weights[i]!)));
  assert(furthest < 1e-4, `${furthest}`);
});

forEachLibrary("a step that is NaN on one rank is left out on all", async (launcher) => {
  const command = denoWithMpi("../train/ranked_process.ts");
  const { code, stdout, stderr } = await launch(launcher, { ranks: 2, command });
  assertEquals(code, 0, stderr);
  const [first, second] = jsonLines(stdout).sort((a, b) => a.rank - b.rank);
  assertEquals(first.skipped, [0, 1, 1, 1, 1, 1, 1, 1]);
  assertEquals(first.isFinite, true);
  assertEquals({ ...second, rank: 0 }, first);
});
