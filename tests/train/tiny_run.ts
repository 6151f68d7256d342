import { type ReopenedRun, reopenRun } from "../../lib/checkpoint/reopen.ts";
import { createRunFolder, type RunFolder } from "../../lib/checkpoint/run_folder.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { preset, type RunConfig } from "../../lib/config/run.ts";
import { channelStatistics, type ImageDataset, type ImageSplit } from "../../lib/data/dataset.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import type { Preprocessing } from "../../lib/data/preprocessing.ts";
import type { RunEvent, StepEvent } from "../../lib/train/events.ts";
import type { Clock } from "../../lib/train/clock.ts";
import { type RunOptions, type RunResult, trainRun } from "../../lib/train/run.ts";
import { tinyModel } from "../models/tiny_model.ts";

/** 75 images to train on, of which the run below holds out 25, and 20 to test on. */
export const shapes: ImageDataset = createShapes({ train: 75, test: 20 });

/** Two epochs of three steps, of 20, 20 and 10 images; validation takes two batches, 20 and 5. */
export const tinyRun: RunConfig = {
  ...preset("tiny"),
  ...tinyModel,
  dataset: "shapes",
  validationSplit: 1 / 3,
  batchSize: 20,
  epochs: 2,
  seed: 7,
  learningRate: 1e-2,
  decayExclude: ["bias"],
};

/** How the stored bytes of `split` become model input. */
export function preprocessingOf(split: ImageSplit): Preprocessing {
  return { height: 32, width: 32, channels: 3, ...channelStatistics(split, 3) };
}

/** What the tests look at after a run. */
export interface Finished {
  result: RunResult;
  folder: RunFolder;
  events: StepEvent[];
  /** The lines of history.jsonl, as they stand there. */
  history: string;
}

/** A clock that stands still: equal runs have equal histories. */
export const stillClock: Clock = { now: () => 0, date: () => new Date(0) };

/** Listeners by the type of the event. */
export function on(
  listeners: { [T in RunEvent["type"]]?: (event: Extract<RunEvent, { type: T }>) => unknown },
): { onEvent: (event: RunEvent) => void } {
  return { onEvent: (event) => void listeners[event.type]?.(event as never) };
}

/** Trains `config` in `folder`, a new one unless a state is resumed; the metrics of all steps are read. */
export async function train(
  path: string,
  config: RunConfig,
  options: Partial<RunOptions> = {},
): Promise<Finished> {
  const folder = options.folder ?? await createRunFolder(path, config);
  const events: StepEvent[] = [];
  const result = await trainRun({
    config,
    dataset: shapes,
    folder,
    readInterval: 0,
    clock: stillClock,
    ...options,
    onEvent: (event) => {
      if (event.type === "step") events.push(event);
      options.onEvent?.(event);
    },
  });
  const history = (await readHistory(folder.history)).map((line) => JSON.stringify(line)).join(
    "\n",
  );
  return { result, folder, events, history };
}

/** Takes a run up again as the train task does. */
export async function goOn(
  path: string,
  config?: RunConfig,
  options: Partial<RunOptions> = {},
): Promise<Finished & Pick<ReopenedRun, "state" | "notices">> {
  const { run, config: saved, lock, state, notices } = await reopenRun(path);
  await using _ = lock;
  const resumed = { folder: run, lock, ...(state && { start: { resume: state } }), ...options };
  return { ...await train("", config ?? saved, resumed), state, notices };
}

/** Options of a run that ends after a step. */
export function stopAt(step: number): Pick<RunOptions, "signal" | "onEvent"> {
  const stop = new AbortController();
  return {
    signal: stop.signal,
    ...on({ step: (event) => event.step === step && stop.abort() }),
  };
}
