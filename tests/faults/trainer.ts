/**
 * A trainer that is there to be killed: makes or takes up the run in a folder, as the train task
 * does, and prints each step and each save at once. Arguments: one JSON object, see below.
 */
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { reopenRun } from "../../lib/checkpoint/reopen.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { preset, type RunConfig } from "../../lib/config/run.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { type RunOptions, trainRun } from "../../lib/train/run.ts";
import { on } from "../train/tiny_run.ts";
import { tinyModel } from "../models/tiny_model.ts";

/** What the trainer is told. */
export interface TrainerArguments {
  /** The run's folder. */
  path: string;
  backend: string;
  epochs: number;
  /** Steps between two saves. */
  saveEvery: number;
  /** Kills itself as soon as a state of this step or a later one within an epoch is saved. */
  killAt?: number;
  /** Trains with {@linkcode recipe}. */
  isModern?: boolean;
}

/** Ten steps an epoch, the last of half a batch; dropout and augmentation as in earnest. */
export const faultRun: RunConfig = {
  ...preset("tiny"),
  ...tinyModel,
  // Some 350 kB a state, so that a save takes a while beside a step.
  mlpHeadUnits: [256],
  dataset: "shapes",
  validationSplit: 0.1,
  batchSize: 7,
  seed: 7,
  learningRate: 1e-3,
};

/** All that a step may do beside the plain one; a step's 7 images are taken one by one. */
export const recipe: Partial<RunConfig> = {
  ...{ schedule: "cosine", warmupEpochs: 1, learningRateFloor: 1e-5 },
  ...{ labelSmoothing: 0.1, ema: 0.9, clipNorm: 1, accumulate: 7, dropPath: 0.2 },
  ...{ augment: "flip|crop(1)|mixup(0.8,0.4)|cutmix(1,0.4)" },
};

/** Steps of an epoch of {@linkcode faultRun}. */
export const stepsAnEpoch = 10;

/** What a run in the tests and one in a process of its own have in common. */
export function faultOptions(): Pick<RunOptions, "dataset" | "clock"> {
  // Without dates; the seconds of an epoch are left out of what is compared.
  const clock = { now: () => performance.now(), date: () => new Date(0) };
  return { dataset: createShapes({ train: 74, test: 10 }), clock };
}

/** The lines of a run's history, but for how long its epochs took. */
export async function linesOf(path: string): Promise<Record<string, unknown>[]> {
  const lines = await readHistory(`${path}/history.jsonl`);
  return lines.map(({ seconds: _, ...line }) => line);
}

function say(what: string, value: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${what} ${value}\n`));
}

if (import.meta.main) {
  const { path, backend, epochs, saveEvery, killAt, isModern } = JSON.parse(
    Deno.args[0]!,
  ) as TrainerArguments;
  await selectBackend(backend);
  const config = { ...faultRun, ...(isModern && recipe), epochs };
  const isNew = await Deno.stat(`${path}/config.json`).then(() => false, () => true);
  if (isNew) await createRunFolder(path, config);
  const { run, lock, state, notices } = await reopenRun(path);
  for (const notice of notices) say("notice", notice);
  say("from", state?.step ?? 0);
  const result = await trainRun({
    ...faultOptions(),
    ...{ config, folder: run, lock, save: { every: { steps: saveEvery } }, readInterval: 0 },
    ...(state && { start: { resume: state } }),
    ...on({
      step: ({ step }) => {
        say("step", step);
        // As slow as in earnest, or a save would take the rest of the epoch.
        const isNear = killAt !== undefined && step >= killAt - stepsAnEpoch;
        const until = performance.now() + (isNear ? 60 : 0);
        while (performance.now() < until);
      },
      save: ({ step }) => {
        say("saved", step);
        const isInside = step % stepsAnEpoch !== 0;
        if (killAt !== undefined && step >= killAt && isInside) Deno.kill(Deno.pid, "SIGKILL");
      },
    }),
  });
  await lock.release();
  say("done", result.step);
}
