/** The weights of a run, as `eval`, `predict` and `export` load them. */
import { dirname } from "@std/path";
import { openRunFolder } from "../lib/checkpoint/run_folder.ts";
import { checkConfig } from "../lib/checkpoint/same_run.ts";
import { loadWeights } from "../lib/checkpoint/state.ts";
import type { WeightsState } from "../lib/checkpoint/training_state.ts";
import { modelConfigOf, type RunConfig, trainingFields } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import type { PortableModel } from "../lib/export/portable_model.ts";
import type { ForeignFiles } from "../lib/foreign/files.ts";
import { findForeign, loadForeign, portableOf } from "../lib/foreign/load.ts";
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

/** A classifier, whichever library its weights are of. */
export interface ClassifierWeights extends PortableModel {
  /** The file. */
  path: string;
  /** Steps that made the weights; undefined of another library's. */
  step?: number;
}

/**
 * Loads the weights of a run, as {@linkcode loadRunWeights} does, or a model of another library.
 * @param onNotice told what a person should know, a sentence each
 */
export async function loadClassifier(
  given: string,
  which: string | undefined,
  onNotice: (text: string) => void,
): Promise<ClassifierWeights> {
  const files = await foreignFiles(given);
  if (files) {
    if (which !== undefined) {
      throw new UserError(`--weights ${which} is for runs, and ${given} is none; leave it out.`);
    }
    const model = await loadForeign(files);
    for (const notice of model.notices) onNotice(notice);
    return { ...portableOf(model), path: model.source };
  }
  const { path, config, state } = await loadRunWeights(given, which);
  const { weights, classNames, preprocessing, step } = state;
  return { config: modelConfigOf(config), weights, classNames, preprocessing, path, step };
}

/** A model of another library: a folder that holds one, or a safetensors file that lies in no run. */
async function foreignFiles(path: string): Promise<ForeignFiles | undefined> {
  if (await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false)) {
    return await findForeign(path);
  }
  const isOfRun = /(^|\/)(best|last|step-\d+)\.safetensors$/.test(path);
  return path.endsWith(".safetensors") && !isOfRun ? await findForeign(path) : undefined;
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
