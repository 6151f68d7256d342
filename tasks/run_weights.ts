/** The weights of a run, as `eval` and `predict` load them. */
import { openRunFolder } from "../lib/checkpoint/run_folder.ts";
import { checkConfig } from "../lib/checkpoint/same_run.ts";
import { loadWeights, type WeightsState } from "../lib/checkpoint/state.ts";
import { type RunConfig, trainingFields } from "../lib/config/run.ts";
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
 * Opens a run and loads its `best` or `last` weights, or the running average of the last.
 * @throws {UserError} if either cannot be used, or if `config.json` describes another model than
 * the one that was trained: the same weights in another number of heads would load, and mean nothing.
 */
export async function loadRunWeights(folder: string, which: string): Promise<RunWeights> {
  const { run, config } = await openRunFolder(folder);
  const path = oneOf("--weights", which, { best: run.best, last: run.last, ema: run.last });
  const state = await loadWeights(path, which === "ema" ? "averages" : "weights");
  checkConfig(state, config, Object.keys(trainingFields) as (keyof RunConfig)[]);
  return { path, config, state };
}
