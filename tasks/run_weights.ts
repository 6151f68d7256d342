/** The weights of a run, as `eval`, `predict` and `export` load them. */
import { dirname } from "@std/path";
import { openRunFolder } from "../lib/checkpoint/run_folder.ts";
import { checkConfig } from "../lib/checkpoint/same_run.ts";
import { loadWeights } from "../lib/checkpoint/state.ts";
import type { WeightsState } from "../lib/checkpoint/training_state.ts";
import { type RunConfig, trainingFields } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import { oneOf } from "./cli.ts";

/** What a run's folder holds of one checkpoint. */
export interface RunWeights {
  /** The checkpoint's file. */
  path: string;
  config: RunConfig;
  state: WeightsState;
}

/** Which weights of a run there are, for help texts. */
export const weightsOfRun = "best, last or ema (the running average of last)";

/**
 * Opens a run and loads its `best` or `last` weights, or as `ema` the running average of the last.
 *
 * @param given the run's folder or a file in it; a checkpoint among these is the one that is loaded
 * @param which what `--weights` says; undefined where it was not given
 * @throws {UserError} if either cannot be used, if the two contradict each other, or if `config.json`
 * describes another model than the one that was trained: the same weights in another number of heads
 * would load, and mean nothing.
 */
export async function loadRunWeights(given: string, which?: string): Promise<RunWeights> {
  const { folder, checkpoint } = await findRun(given);
  const { run, config } = await openRunFolder(folder);
  const isAverage = which === "ema";
  const path = oneOf("--weights", which ?? "best", {
    ...{ best: run.best, last: run.last },
    // Of the state that is named, whichever it is.
    ema: checkpoint ?? run.last,
  });
  if (checkpoint !== undefined && which !== undefined && nameOf(checkpoint) !== nameOf(path)) {
    throw new UserError(
      `${given} is not the run's ${which}; leave out --weights or name ${folder}.`,
    );
  }
  const file = checkpoint ?? path;
  const state = await loadWeights(file, isAverage ? "averages" : "weights");
  checkConfig(state, config, Object.keys(trainingFields) as (keyof RunConfig)[]);
  return { path: file, config, state };
}

/** The run's folder and, where one was named, the checkpoint of a path. */
interface FoundRun {
  folder: string;
  checkpoint?: string;
}

/**
 * The run that a path means: its folder, or the folder of a file in it.
 * @throws {UserError} for a file that lies in no run.
 */
export async function findRun(path: string): Promise<FoundRun> {
  if (!await isFile(path)) return { folder: path };
  const folder = dirname(path);
  if (!await isFile(`${folder}/config.json`)) {
    throw new UserError(
      `${path} is not the folder of a run, nor a file in one; name a folder, such as runs/NAME.`,
    );
  }
  return path.endsWith(".safetensors") ? { folder, checkpoint: path } : { folder };
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isFile }) => isFile, () => false);
}
