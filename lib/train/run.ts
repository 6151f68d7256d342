/**
 * A run from its first step to its folder's last file: what it is made of, and whether it all fits.
 */
import { lockRun, type RunLock } from "../checkpoint/lock.ts";
import type { RunFolder } from "../checkpoint/run_folder.ts";
import { checkConfig, checkDataset } from "../checkpoint/same_run.ts";
import type { TrainingState } from "../checkpoint/state.ts";
import { modelConfigOf, type RunConfig } from "../config/run.ts";
import {
  channelStatistics,
  type ImageDataset,
  limitSplit,
  splitValidation,
} from "../data/dataset.ts";
import { createViTClassifier } from "../models/vit_classifier.ts";
import { AdamW } from "../optim/adamw.ts";
import { DeviceSplit } from "./batches.ts";
import { checkStart } from "./check_start.ts";
import type { Evaluation } from "./evaluate.ts";
import type { EpochRecord, FitOptions } from "./fit.ts";
import type { InitialWeights } from "./initial_weights.ts";
import type { SaveEvery } from "./saver.ts";
import { Session } from "./session.ts";

export { assignWeights } from "./weights.ts";

/** What a run is made of. */
export interface RunOptions extends Pick<FitOptions, "readEvery" | "signal"> {
  config: RunConfig;
  dataset: ImageDataset;
  folder: RunFolder;
  /** The folder's lock, if the caller has it; else it is taken, and given back in the end. */
  lock?: RunLock;
  /** A state to go on from; without it the run starts at step 0. */
  resume?: TrainingState;
  /** Weights that a new run begins from; random ones by default. */
  initial?: InitialWeights;
  /** Names and versions to store in every checkpoint. */
  versions: Record<string, string>;
  /** When to save beside the ends of epochs; never by default. */
  saveEvery?: SaveEvery;
  /** How many states stay in the folder, at least 1; 2 by default. */
  keep?: number;
  /**
   * What a loss or gradient that is NaN or infinite does: `stop`, the default, ends the run; `skip`
   * leaves out that step's update.
   */
  onNan?: "stop" | "skip";
  /** Milliseconds of a clock that never goes back; by default `performance.now`. */
  now?: () => number;
  onStep?: FitOptions["onStep"];
  onValidation?: FitOptions["onValidation"];
  onEpoch?: (record: EpochRecord, isBest: boolean) => void;
  /** Told when the state of a step is whole in its file. */
  onSave?: (step: number) => void;
  /** Told in a sentence what a person should know of. */
  onNotice?: (text: string) => void;
  onTest?: (done: number, count: number) => void;
}

/** How a run ended. */
export interface RunResult {
  /** False when the signal stopped it; `last` then holds the state. */
  complete: boolean;
  /** Training steps done. */
  step: number;
  /** Updates left out because a gradient was NaN or infinite. */
  skippedSteps: number;
  /** The best weights on the test images; null unless complete. */
  test: Evaluation | null;
}

/**
 * Trains. After each epoch, when a save is due, when stopped and before an error ends the run, the
 * state is saved as `last`, and where val_accuracy rose the weights as `best`; the files are written
 * while training goes on.
 *
 * @throws {UserError} when data and model do not fit, when the state to resume is of another run,
 * when another process trains in the folder, when a tensor is above the device's limit, when the
 * device is lost, or when the loss becomes NaN; what is saved by then stays as it is
 */
export async function trainRun(options: RunOptions): Promise<RunResult> {
  const { config, dataset, resume, initial } = options;
  checkStart(config, dataset, resume ? undefined : initial);
  const identity = {
    name: dataset.name,
    identity: dataset.identity,
    trainCount: dataset.train.count,
  };
  if (resume) {
    checkConfig(resume, config);
    checkDataset(resume, identity);
  }
  const all = limitSplit(dataset.train, config.limit);
  const { height, width, channels } = dataset;
  const how = { height, width, channels, ...channelStatistics(all, channels) };
  const { train, validation } = splitValidation(all, config.validationSplit);

  await using _ = options.lock ? null : await lockRun(options.folder.path);
  using owned = new DisposableStack();
  const own = <T extends { dispose(): unknown }>(resource: T): T =>
    owned.adopt(resource, () => void resource.dispose());
  const session = new Session(options, {
    identity,
    how,
    model: own(createViTClassifier(modelConfigOf(config), { seed: config.seed })),
    optimizer: own(
      new AdamW(options.onNan === "skip" ? { ...config, skipNonFinite: true } : config),
    ),
    train: own(new DeviceSplit(train, how)),
    validation: validation.count > 0 ? own(new DeviceSplit(validation, how)) : null,
  });
  await session.begin();
  const test = await session.train() ? await session.test() : null;
  const { step, skippedSteps } = session.progress;
  return { complete: test !== null, step, skippedSteps, test };
}
