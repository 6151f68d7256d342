/** What `train` begins from: a new run, or one that is taken up again. */
import type { ComputedOn } from "../lib/backend/computed_on.ts";
import { lockRun, type RunLock } from "../lib/checkpoint/lock.ts";
import { noticesOf, reopenRun } from "../lib/checkpoint/reopen.ts";
import {
  checkRunFolderIsFree,
  createRunFolder,
  latestRun,
  type RunFolder,
} from "../lib/checkpoint/run_folder.ts";
import { checkSchedule } from "../lib/checkpoint/same_run.ts";
import type { TrainingState } from "../lib/checkpoint/training_state.ts";
import { preset, type RunConfig } from "../lib/config/run.ts";
import { shortNameOf } from "../lib/data/picture_set.ts";
import { pictureSourceOf } from "../lib/data/sources.ts";
import { UserError } from "../lib/errors.ts";
import { isHubName } from "../lib/foreign/hub.ts";
import { shellWord } from "../lib/report/summary.ts";
import { workLeft } from "../lib/train/check_start.ts";
import {
  checkInitialWeights,
  fieldsOf,
  type InitialWeights,
  loadInitialWeights,
  noticesOfWeights,
} from "../lib/train/initial_weights.ts";
import { runsFolder } from "./cli.ts";
import { fetchHubModel } from "./hub_model.ts";
import { askToWrite } from "./permissions.ts";
import { readRunConfig } from "./run_options.ts";
import { findRun } from "./run_weights.ts";

/** The run to do. */
export interface RunStart {
  config: RunConfig;
  /** What the command line's options override in it. */
  base: RunConfig;
  /** What the run was computed on so far, where that is known. */
  computedOn?: ComputedOn;
  /** Whether there is anything to train; else only the test is left. */
  trains: boolean;
  /** The folder, locked; that of a new run is made now. */
  open(): Promise<{ run: RunFolder; lock: RunLock }>;
  /** The state to go on from. */
  resume?: TrainingState;
  /** The weights that a new run begins from. */
  initial?: InitialWeights;
}

/** A run that has done what is asked for, and more. */
export interface FinishedRun {
  /** Its folder. */
  run: string;
  complete: true;
  step: number;
  /** Epochs done. */
  epochs: number;
}

/** The options that decide where a run begins. */
export interface StartOptions {
  out?: string;
  resume?: string;
  initFrom?: string;
  /** Address of the hub that `hf:` names are fetched from. */
  hub?: string;
  reschedule?: boolean;
}

/**
 * Finds out what there is to do; writes nothing but the lock of a run that is taken up.
 *
 * @param given all options of the command line
 * @param owned takes the lock
 * @param onNotice told in a sentence what a person should know of
 * @returns what to do, or the resumed run that has nothing left to do, which is said
 * @throws {UserError} for options that contradict each other or the run
 */
export async function prepareStart(
  options: StartOptions,
  given: Record<string, unknown>,
  owned: AsyncDisposableStack,
  onNotice: (text: string) => void,
): Promise<RunStart | FinishedRun> {
  if (options.resume === undefined) {
    if (!options.reschedule) return await prepareNew(options, given, onNotice);
    throw new UserError(
      "--reschedule is for --resume only, since a new run has a schedule of its own; leave it out.",
    );
  }
  for (const [name, value] of [["out", options.out], ["init-from", options.initFrom]]) {
    if (value === undefined) continue;
    throw new UserError(`--${name} ${value} cannot be given with --resume; leave it out.`);
  }
  return await prepareResumed(options.resume, options.reschedule ?? false, given, owned, onNotice);
}

async function prepareResumed(
  wanted: string,
  isRescheduled: boolean,
  given: Record<string, unknown>,
  owned: AsyncDisposableStack,
  onNotice: (text: string) => void,
): Promise<RunStart | FinishedRun> {
  const isAuto = wanted === "auto";
  const path = isAuto ? await latestRun(runsFolder) : await folderToResume(wanted);
  if (path === undefined) {
    throw new UserError(
      `There is no run in ${runsFolder}/ to go on with; start one without --resume.`,
    );
  }
  await askToWrite("--resume", path);
  const { run, config: saved, lock, state, notices } = await reopenRun(path);
  owned.use(lock);
  for (const notice of notices) onNotice(notice);
  const base = given.preset === undefined ? saved : preset(given.preset as string);
  const config = await readRunConfig(given, base);
  const left = workLeft(state, saved, config);
  // Before data is fetched in vain.
  if (left === "train" && state && !isRescheduled) checkSchedule(state, config);
  if (left === "nothing") {
    onNotice(
      `There is nothing to do: ${run.path} has done ${epochs(state!.epoch)}, and --epochs ` +
        `${config.epochs} asks for no more. Nothing was written; its best weights are tested with: ` +
        `deno task eval ${shellWord(run.path)}`,
    );
    return { run: run.path, complete: true, step: state!.step, epochs: state!.epoch };
  }
  if (left === "test") onNotice(`${run.path} is complete, with ${epochs(config.epochs)}.`);
  else if (isAuto) onNotice(`Going on with ${run.path}, step ${state?.step ?? 0}.`);
  const open = () => Promise.resolve({ run, lock });
  const { computedOn } = state ?? {};
  return { config, base, computedOn, trains: left === "train", open, resume: state };
}

/** A run goes on from its newest state, so its folder is meant, whatever file of it is named. */
async function folderToResume(path: string): Promise<string> {
  const { folder, checkpoint } = await findRun(path);
  if (checkpoint === undefined || checkpoint.endsWith("/last.safetensors")) return folder;
  throw new UserError(
    `--resume goes on from a run's newest state, not from ${path}; take --resume ` +
      `${shellWord(folder)}, or begin a new run with --init-from ${shellWord(path)}.`,
  );
}

function epochs(count: number): string {
  return count === 1 ? "1 epoch" : `${count} epochs`;
}

async function prepareNew(
  options: StartOptions,
  given: Record<string, unknown>,
  onNotice: (text: string) => void,
): Promise<RunStart> {
  const { initFrom } = options;
  const initial = initFrom === undefined
    ? undefined
    : await initialWeights(initFrom, options.hub, given, onNotice);
  const presetName = given.preset as string ?? "keras-cifar100";
  const base = preset(presetName);
  // A preset that is named decides all; else, and with the one for it, the model is the weights', but
  // for the data's classes.
  const takesModel = initial !== undefined &&
    (given.preset === undefined || presetName === "finetune");
  const config = await readRunConfig(
    given,
    takesModel ? { ...base, ...fieldsOf(initial), numClasses: base.numClasses } : base,
    onNotice,
  );
  if (initial) {
    // Before data is fetched that it would be of no use for.
    checkInitialWeights(initial, config);
    onNotice(
      `${takesModel ? "Weights and model" : "Weights"} from ${initial.source}; all else from the ` +
        `preset ${presetName} and this command line: ${config.dataset}, batches of ` +
        `${config.batchSize}, ${epochs(config.epochs)}.`,
    );
  }
  if (initial) { for (const notice of noticesOfWeights(initial, config)) onNotice(notice); }
  const name = `${nameOfData(config)}-${
    new Date().toISOString().slice(0, 19).replaceAll(":", "-")
  }`;
  const path = options.out ?? `${runsFolder}/${name}`;
  await askToWrite("--out", path);
  // Now, because a download may come before the folder is made.
  await checkRunFolderIsFree(path);
  const open = async () => {
    const run = await createRunFolder(path, config, initial?.source);
    const lock = await lockRun(run.path);
    for (const notice of noticesOf(run, lock)) onNotice(notice);
    return { run, lock };
  };
  return { config, base, trains: true, open, initial };
}

/** The weights that `--init-from` names; fetched first, where it is a model of the hub. */
async function initialWeights(
  named: string,
  hub: string | undefined,
  { numHeads }: Record<string, unknown>,
  onNotice: (text: string) => void,
): Promise<InitialWeights> {
  const heads = numHeads === undefined ? undefined : Number(numHeads);
  return await loadInitialWeights(
    isHubName(named) ? await fetchHubModel(named, hub, onNotice) : named,
    // What is no number of heads is refused with the other fields.
    {
      numHeads: heads !== undefined && Number.isSafeInteger(heads) && heads > 0 ? heads : undefined,
    },
  );
}

/** As a part of a folder's name: that of the data set, or of the folder of pictures. */
function nameOfData({ dataset }: RunConfig): string {
  const pictures = pictureSourceOf(dataset);
  return pictures ? shortNameOf(pictures.path) : dataset;
}
