/** Runs with a modern recipe: what history, best weights and states then hold, and going on. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createRunFolder, openRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { splitValidation } from "../../lib/data/dataset.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { evaluate } from "../../lib/train/evaluate.ts";
import type { EpochLine, RunEvent } from "../../lib/train/events.ts";
import type { RunOptions } from "../../lib/train/run.ts";
import { RunSaver } from "../../lib/train/run_saver.ts";
import { assignWeights } from "../../lib/train/weights.ts";
import { forEachBackend } from "../backends.ts";
import { equals, inFolder } from "../checkpoint/folder.ts";
import { floats, stateAt } from "../checkpoint/states_of_runs.ts";
import { goOn, preprocessingOf, shapes, stopAt, tinyRun, train } from "./tiny_run.ts";

/** Three epochs of three steps, with all that a step may do beside the plain one. */
const recipe: RunConfig = {
  ...tinyRun,
  ...{ schedule: "cosine", warmupEpochs: 1, learningRateFloor: 1e-4, epochs: 3 },
  ...{ labelSmoothing: 0.1, ema: 0.9, clipNorm: 1, accumulate: 2, dropPath: 0.2 },
  augment: "flip|crop(1)|randaugment(1,9)|erase(0.5)|mixup(0.8)|cutmix(1)",
  mixEpochs: 2,
};

const recordsOf = (history: string): EpochLine[] =>
  history.split("\n").map((line) => JSON.parse(line));

forEachBackend(
  "an average is validated beside the weights, and the better is the best",
  async () => {
    await inFolder(async (folder) => {
      const { folder: run, history, result } = await train(`${folder}/run`, recipe);
      const records = recordsOf(history);
      const state = await loadState(run.last);
      const best = await loadWeights(run.best);
      const accuracies = records.map(({ valAccuracy, emaValAccuracy }) =>
        Math.max(valAccuracy!, emaValAccuracy!)
      );
      assertEquals(best.bestValAccuracy, Math.max(...accuracies));
      assertEquals(result.bestValAccuracy, Math.max(...accuracies));

      // The last line is of the last state's weights and averages.
      const model = createViTClassifier(modelConfigOf(recipe));
      const held = splitValidation(shapes.train, 1 / 3).validation;
      const split = new DeviceSplit(held, preprocessingOf(shapes.train));
      const record = records.at(-1)!;
      for (
        const [which, expected] of [
          ["weights", [record.valLoss, record.valAccuracy, record.valTop5]],
          ["averages", [record.emaValLoss, record.emaValAccuracy, record.emaValTop5]],
        ] as const
      ) {
        const { weights } = await loadWeights(run.last, which);
        assertEquals(weights, state[which]);
        assignWeights(model, weights, run.last);
        const { loss, accuracy, top5 } = await evaluate(model, split, { batchSize: 20 });
        assertEquals<unknown>([loss, accuracy, top5], expected, which);
      }
      assert(record.emaValLoss !== record.valLoss);
      split.dispose();
      model.dispose();
    });
  },
);

Deno.test("the best weights are the average where it is the better", () =>
  inFolder(async (folder) => {
    const averages = floats(99);
    const saved = stateAt(5);
    const state = { ...saved, averages, config: { ...saved.config, ema: 0.9 } };
    const run = await createRunFolder(`${folder}/run`, state.config);
    const saver = new RunSaver({
      ...{ folder: run, every: null, keep: 1, step: 0, now: () => 0 },
      ...{ checkFolder: () => Promise.resolve(), onSave: () => {} },
      snapshot: () => Promise.resolve(state),
    });
    const figures = { loss: 4, accuracy: 0.1, top5: 0.2, valLoss: 4, valTop5: 0.2 };
    const record = { ...figures, learningRate: 1e-3, seconds: 1, date: "" };
    // Equal ones are the weights' own.
    for (const [epoch, emaValAccuracy] of [0.1, 0.11, 0.09].entries()) {
      const line = { ...record, epoch: epoch + 1, step: 5, valAccuracy: 0.1, emaValAccuracy };
      await saver.saveEpoch(line, true);
      await saver.settled();
      const expected = emaValAccuracy > 0.1 ? averages : state.weights;
      assertEquals((await loadWeights(run.best)).weights, expected, `${emaValAccuracy}`);
    }
  }));

forEachBackend("without validation the average counts as the better", async () => {
  await inFolder(async (folder) => {
    const config = { ...recipe, validationSplit: 0, epochs: 1 };
    const { folder: run, history } = await train(`${folder}/run`, config);
    const [record] = recordsOf(history);
    assertEquals([record!.valAccuracy, record!.emaValAccuracy], [null, null]);
    assertEquals((await loadWeights(run.best)).weights, (await loadState(run.last)).averages!);
  });
}, { backends: ["cpu"] });

forEachBackend("a state without averages says so", () =>
  inFolder(async (folder) => {
    const { folder: run } = await train(`${folder}/run`, { ...tinyRun, epochs: 1 });
    const error = await assertRejects(() => loadWeights(run.last, "averages"), UserError);
    assertEquals(
      error.message,
      `${run.last} has no running average of its weights: the run's ema is 0; take the best or ` +
        `the last weights.`,
    );
  }), { backends: ["cpu"] });

forEachBackend("stopped at any step and resumed, the recipe's run has the same bytes", async () => {
  await inFolder(async (folder) => {
    const whole = await train(`${folder}/whole`, recipe);
    // Before the average's warm-up ends, in mid-epoch, at an epoch's end, in the last epoch.
    for (const step of [1, 5, 6, 8]) {
      const path = `${folder}/${step}`;
      await train(path, recipe, stopAt(step));
      await goOn(path);
      for (const file of ["last.safetensors", "best.safetensors", "history.jsonl"]) {
        const [found, expected] = await Promise.all(
          [path, whole.folder.path].map((run) => Deno.readFile(`${run}/${file}`)),
        );
        assert(equals(found!, expected!), `${file} of the run stopped at step ${step} differs`);
      }
    }
  });
}, { backends: ["webgpu", "wasm"] });

forEachBackend(
  "other epochs under a schedule that ends with the run only with reschedule",
  () =>
    inFolder(async (folder) => {
      const path = `${folder}/run`;
      await train(path, recipe, stopAt(4));
      const longer = { ...recipe, epochs: 4 };
      await assertRejects(() => goOn(path, longer), UserError, "--reschedule");
      const { result, history } = await goOn(path, longer, { reschedule: true });
      assertEquals([result.complete, result.step], [true, 12]);
      // The last rate is near the floor of the longer curve: a ninth of half a period is left.
      const rate = 1e-4 + (1e-2 - 1e-4) * (1 + Math.cos(Math.PI * 8 / 9)) / 2;
      assertEquals(recordsOf(history).at(-1)!.learningRate.toPrecision(12), rate.toPrecision(12));
    }),
  { backends: ["cpu"] },
);

/** A run that soon gets no better, with its notices. */
async function impatient(path: string, options: Partial<RunOptions> = {}) {
  const notices: string[] = [];
  const config = { ...tinyRun, epochs: 9, patience: 2 };
  const onEvent = (event: RunEvent) => {
    if (event.type === "notice") notices.push(event.text);
    options.onEvent?.(event);
  };
  return { ...await train(path, config, { ...options, onEvent }), notices };
}

forEachBackend("patience ends a run after so many epochs without a better one", async () => {
  await inFolder(async (folder) => {
    const { result, history, notices, folder: run } = await impatient(`${folder}/run`);
    const accuracies = recordsOf(history).map(({ valAccuracy }) => valAccuracy!);
    const best = accuracies.indexOf(Math.max(...accuracies));
    assertEquals(accuracies.length, best + 3);
    assert(accuracies.length < 9, "it ran to its end");
    assertEquals([result.complete, result.step], [true, 3 * accuracies.length]);
    assert(result.test !== null);
    assertEquals(notices, [
      `No better val_accuracy than ${accuracies[best]!.toFixed(4)} for 2 epochs: training ends ` +
      `after epoch ${accuracies.length} of 9.`,
    ]);
    const state = await loadState(run.last);
    assertEquals(state.epochsSinceBest, 2);

    // Interrupted in the first epoch that counts, it ends at the same epoch with the same bytes.
    const path = `${folder}/resumed`;
    await impatient(path, stopAt(3 * (best + 1) + 2));
    await goOn(path);
    for (const file of ["last.safetensors", "best.safetensors", "history.jsonl"]) {
      const [found, expected] = await Promise.all(
        [path, run.path].map((each) => Deno.readFile(`${each}/${file}`)),
      );
      assert(equals(found!, expected!), file);
    }
    // Ended, it does not go on; with more patience it does.
    assertEquals((await goOn(path)).result.step, result.step);
    const { config } = state;
    const longer = await goOn(path, { ...config, patience: 3 }, stopAt(result.step + 1));
    assertEquals(longer.result.step, result.step + 1);
    assertEquals((await openRunFolder(path)).config.patience, 3);
  });
}, { backends: ["wasm"] });

forEachBackend(
  "without patience no epoch is counted, and a state has the bytes of before",
  async () => {
    await inFolder(async (folder) => {
      const { folder: run } = await train(`${folder}/run`, { ...tinyRun, epochs: 3 });
      assertEquals(Object.hasOwn(await loadState(run.last), "epochsSinceBest"), false);
    });
  },
  { backends: ["cpu"] },
);
