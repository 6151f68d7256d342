/**
 * A run from its first step to its folder's last file: what it is made of, whether it all fits, and
 * what happens when it does not go well.
 */
import type { tf } from "../tfjs.ts";
import { checkGpu, currentGpu, GpuError } from "../backend/device.ts";
import { computedOn } from "../backend/select.ts";
import { formsInUse } from "../kernels/forms.ts";
import { FailedTogether, type Ranks } from "../distributed/ranks.ts";
import { lockRun, type RunLock } from "../checkpoint/lock.ts";
import { type Progress, progressOf, startOfRun } from "../checkpoint/progress.ts";
import { type RunFolder, writeConfig } from "../checkpoint/run_folder.ts";
import { rewindHistory } from "../checkpoint/history.ts";
import {
  checkConfig,
  checkDataset,
  checkSchedule,
  resumableFields,
} from "../checkpoint/same_run.ts";
import { loadState, loadWeights } from "../checkpoint/state.ts";
import type { DatasetIdentity, TrainingState } from "../checkpoint/training_state.ts";
import { modelConfigOf, parseRunConfig, type RunConfig } from "../config/run.ts";
import type { ImageDataset } from "../data/dataset.ts";
import { withIdleAdapters } from "../models/lora.ts";
import { trainedVariables } from "../models/trained.ts";
import { createViTClassifier, namedVariables } from "../models/vit_classifier.ts";
import { AdamW } from "../optim/adamw.ts";
import type { WeightAverage } from "../optim/weight_average.ts";
import { type Clock, systemClock } from "./clock.ts";
import { checkStart } from "./check_start.ts";
import { DeviceDataset } from "./device_dataset.ts";
import { findNonFinite } from "./diagnose.ts";
import { Diverged } from "./diverged.ts";
import { evaluateGuesses, type Guesses, sumsOf } from "./evaluate.ts";
import type { RunEvent } from "./events.ts";
import { fit } from "./fit.ts";
import { assignInitialWeights, givenWeights, type InitialWeights } from "./initial_weights.ts";
import { type Metrics, metricsOf } from "./metrics.ts";
import { broadcastState } from "./ranked_state.ts";
import { noSaver, RunSaver } from "./run_saver.ts";
import type { SaveEvery } from "./saver.ts";
import {
  assignVariables,
  averageOf,
  isAllFinite,
  readState,
  readVariables,
  restoreState,
} from "./weights.ts";

/** Beginning of a run, when not from random weights at step 0. */
export type RunStart =
  /** A state to go on from. */
  | { resume: TrainingState }
  /** Weights of another run or of an exported model. */
  | { initial: InitialWeights };

/** Options of {@linkcode trainRun}. */
export interface RunOptions {
  /** Every field of the run. */
  config: RunConfig;
  /** Images to learn from and to test on. */
  dataset: ImageDataset;
  /** Files of the run; see {@linkcode createRunFolder}. */
  folder: RunFolder;
  /** The folder's lock, if the caller has it; else it is taken, and given back in the end. */
  lock?: RunLock;
  /** Beginning; random weights by default. */
  start?: RunStart;
  /** Lets a resumed run's learning rate jump to the curve of other `epochs`; see `schedule`. */
  reschedule?: boolean;
  /** Times of the saves, and the number of states that stay. */
  save?: {
    /** Times to save beside the ends of epochs; none by default. */
    every?: SaveEvery;
    /** Number of states that stay in the folder, at least 1; 2 by default. */
    keep?: number;
  };
  /**
   * What a loss or gradient that is NaN or infinite does: `stop`, the default, ends the run; `skip`
   * leaves out that step's update.
   */
  onNan?: "stop" | "skip";
  /** Names and versions to store in every checkpoint; none by default. */
  versions?: Record<string, string>;
  /** Finishes the step, saves and returns when aborted; among ranks, when that of one of them is. */
  signal?: AbortSignal;
  /**
   * Processes that train this model together, each of which calls this; this one alone by default.
   * Rank 0 alone locks and writes the folder, and its `start` is that of all.
   */
  ranks?: Ranks;
  /** Told what happens. */
  onEvent?: (event: RunEvent) => void;
  /** Time; that of this machine by default. */
  clock?: Clock;
  /** As in `FitOptions`. */
  readInterval?: number;
}

/** End of a run. */
export interface RunResult {
  /** False when the signal stopped it; `last` then holds the state. */
  complete: boolean;
  /** Training steps done. */
  step: number;
  /** Updates left out because a gradient was NaN or infinite. */
  skippedSteps: number;
  /** Best val_accuracy of all epochs, 0 to 1; null before the first validation. */
  bestValAccuracy: number | null;
  /** The best weights on the test images; null unless complete. */
  test: Metrics | null;
  /** What they made of each test image; null unless complete. */
  guesses: Guesses | null;
}

/**
 * Trains. After each epoch, when a save is due, when stopped and before an error ends the run, the
 * state is saved as `last`, and where val_accuracy rose the weights as `best`; the files are
 * written while training goes on.
 *
 * @throws {UserError} when data and model do not fit, when the state to resume is of another run,
 * when another process trains in the folder, when a tensor is above the device's limit, when the
 * device is lost, or when the loss becomes NaN; what is saved by then stays as it is
 *
 * @example
 * ```ts
 * import { createRunFolder, createShapes, preset, selectBackend, trainRun } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 27 };
 * const folder = await createRunFolder(`${await Deno.makeTempDir()}/run`, config);
 * const dataset = createShapes({ train: 60, test: 20 });
 * const { complete, step } = await trainRun({ config, dataset, folder });
 * console.log(complete, step); // true 2
 * ```
 */
export async function trainRun(given: RunOptions): Promise<RunResult> {
  const options = { ...given, config: parseRunConfig(given.config) };
  const { config, dataset } = options;
  const { resume, initial } = startOf(options);
  checkStart(config, dataset, resume ? undefined : initial);
  if (resume) {
    checkConfig(resume, config);
    checkDataset(resume, identityOf(dataset));
    if (!options.reschedule) checkSchedule(resume, config);
  }

  await using taken = options.lock || !leads(options) ? null : await lockRun(options.folder.path);
  using owned = new DisposableStack();
  const data = owned.use(new DeviceDataset(dataset, config));
  const known = resume?.weights ?? (initial && givenWeights(initial));
  const model = createViTClassifier(modelConfigOf(config), {
    ...{ seed: config.seed, given: known, adapters: config },
  });
  owned.defer(() => void model.dispose());
  const optimizer = new AdamW({ ...config, skipNonFinite: options.onNan === "skip" });
  owned.defer(() => optimizer.dispose());

  const lock = options.lock ?? taken ?? undefined;
  const run = new Run({ ...options, lock }, data, model, optimizer);
  owned.defer(() => run.dispose());
  await run.begin();
  const guesses = await run.train() ? await run.test() : null;
  const test = guesses && metricsOf(sumsOf(guesses.statistics));
  const { step, skippedSteps = 0, bestValAccuracy } = run.progress;
  return {
    complete: test !== null,
    ...{ step, skippedSteps, test, guesses },
    bestValAccuracy: bestValAccuracy < 0 ? null : bestValAccuracy,
  };
}

/** A run under way. */
class Run {
  readonly progress: Progress;
  private readonly variables: Map<string, tf.Variable>;
  /** Those of them that are not frozen. */
  private readonly trained: Map<string, tf.Variable>;
  private readonly saver: Pick<RunSaver, keyof RunSaver>;
  private average?: WeightAverage;

  constructor(
    private readonly options: RunOptions,
    private readonly data: DeviceDataset,
    private readonly model: tf.LayersModel,
    private readonly optimizer: AdamW,
  ) {
    const { folder, lock, save = {}, clock = systemClock } = options;
    const { resume } = startOf(options);
    this.variables = namedVariables(model);
    this.trained = trainedVariables(this.variables, options.config);
    this.progress = resume ? progressOf(resume) : startOfRun();
    this.saver = !leads(options) ? noSaver : new RunSaver({
      folder,
      every: save.every ?? null,
      keep: save.keep ?? 2,
      step: this.progress.step,
      now: clock.now,
      checkFolder: () => lock!.check(),
      snapshot: () => this.snapshot(),
      onSave: (step) => options.onEvent?.({ type: "save", step }),
    });
  }

  /** Puts the first weights on the device, and the folder in their state. */
  async begin(): Promise<void> {
    const { options: { ranks, config }, variables, trained, optimizer, progress } = this;
    if (leads(this.options)) await this.beginHere();
    if (!ranks) return;
    const { average } = this;
    const state = { variables, trained, optimizer, average, ema: config.ema, progress };
    this.average = await broadcastState(ranks, state);
  }

  /** The same on the one process that has the run's files. */
  private async beginHere(): Promise<void> {
    const { config, dataset, folder } = this.options;
    const { resume, initial } = startOf(this.options);
    if (resume) restoreState(resume, this.variables, this.optimizer);
    else if (initial) {
      const { classNames } = dataset;
      // The others hold theirs since the model was made.
      const given = givenWeights(initial);
      const rest = new Map(
        [...this.variables].filter(([name, { shape }]) =>
          `${given.get(name)?.shape}` !== `${shape}`
        ),
      );
      const notice = await assignInitialWeights(rest, initial, config, classNames);
      if (notice !== null) this.notice(notice);
    }
    this.average = averageOf(this.trained, config.ema, resume);
    // The epoch under way has no line yet, even if all its images are seen.
    await rewindHistory(folder.history, resume?.epoch ?? 0);
    if (resume && resumableFields.some((key) => resume.config[key] !== config[key])) {
      await writeConfig(folder, config);
    }
    // Random weights can be made again from the seed, these cannot.
    if (!resume && initial) await this.saver.save();
  }

  /** Trains to the end or until the signal aborts; true at the end. All is saved by then. */
  async train(): Promise<boolean> {
    const { options, data, model, optimizer, average, progress, saver } = this;
    const variables = [...this.trained.values()];
    try {
      const parts = { data, model, variables, optimizer, average, progress, keeper: saver };
      const { complete } = await fit({ ...options, ...parts });
      if (!complete) await saver.save();
      await saver.settled();
      return complete;
    } catch (error) {
      // The first error is the one to report.
      await saver.settled().catch(() => {});
      if (!leads(this.options)) throw error;
      if (error instanceof Diverged) throw await this.explained(error);
      const loss = await lossOfDevice();
      if (loss) throw loss;
      // What WebGPU refused to compute may be anything.
      const isTrusted = !(error instanceof GpuError || error instanceof FailedTogether);
      if (this.isWhole() && isTrusted) await saver.rescue();
      throw error;
    }
  }

  /** Evaluates the best weights on the test images; null if the signal aborts that. */
  async test(): Promise<Guesses | null> {
    // Once a run and in no sum: the others have done their part.
    if (!leads(this.options)) return null;
    const { options: { config, folder, onEvent, signal }, model, data, variables } = this;
    const { weights } = await loadWeights(folder.best);
    assignVariables(variables, withIdleAdapters(weights, config), folder.best);
    try {
      return await evaluateGuesses(model, data.test, {
        batchSize: config.batchSize / config.accumulate,
        precision: config.precision,
        onBatch: (done, count) => onEvent?.({ type: "test", done, count }),
        signal,
      });
    } catch (error) {
      if (signal?.aborted) return null;
      throw error;
    }
  }

  private async snapshot(): Promise<TrainingState> {
    const { options: { config, dataset, versions = {} }, data, progress } = this;
    const read = await readState(this.variables, this.trained, this.optimizer, this.average);
    const forms = formsInUse();
    for (const [name, weight] of read.weights) {
      // The loss of the next step would show it, but by then the weights that were good are lost.
      if (!isAllFinite(weight.data)) throw new Diverged(`weight ${name}`, progress.step, config);
    }
    return {
      ...read,
      ...progressOf(progress),
      seed: config.seed,
      config,
      dataset: identityOf(dataset),
      preprocessing: data.preprocessing,
      classNames: dataset.classNames,
      versions,
      computedOn: { ...computedOn(), ...(Object.keys(forms).length > 0 && { forms }) },
    };
  }

  /** Whether the device holds the state that `progress` says, after an error at any moment. */
  private isWhole(): boolean {
    const { optimizer, data: { train }, options: { config }, progress } = this;
    const seen = Math.min(progress.positionInEpoch * config.batchSize, train.count);
    return optimizer.step === progress.step && progress.sums.images === seen;
  }

  /** The same error with the first tensor that was NaN or infinite, where it can be found. */
  private async explained(error: Diverged): Promise<Diverged> {
    const { options: { config, signal }, data: { train }, model, optimizer, variables } = this;
    try {
      const step = await this.rewind();
      if (step >= error.step) return error;
      this.notice(
        `The ${error.what} became NaN or infinite at step ${error.step}; looking for the first ` +
          `such tensor from step ${step} on.`,
      );
      const rewound = { config, model, variables, optimizer, train, step, signal };
      const first = await findNonFinite(rewound, error.step);
      return new Diverged(error.what, error.step, config, first);
    } catch {
      return error;
    }
  }

  /** Puts the newest good state back on the device and gives its step. */
  private async rewind(): Promise<number> {
    const { options: { config, dataset, folder }, variables, optimizer } = this;
    const { resume, initial } = startOf(this.options);
    const state = this.saver.hasSaved ? await loadState(folder.last) : resume;
    if (state) {
      restoreState(state, variables, optimizer);
      return state.step;
    }
    const fresh = createViTClassifier(modelConfigOf(config), {
      ...{ seed: config.seed, adapters: config },
    });
    try {
      assignVariables(variables, await readVariables(namedVariables(fresh)), "of the start");
    } finally {
      fresh.dispose();
    }
    if (initial) await assignInitialWeights(variables, initial, config, dataset.classNames);
    optimizer.restore(0, new Map());
    return 0;
  }

  dispose(): void {
    this.average?.dispose();
  }

  private notice(text: string): void {
    this.options.onEvent?.({ type: "notice", text });
  }
}

/** Whether this process has the run's files. */
function leads({ ranks }: RunOptions): boolean {
  return ranks === undefined || ranks.rank === 0;
}

function startOf({ start }: RunOptions): { resume?: TrainingState; initial?: InitialWeights } {
  return start ?? {};
}

function identityOf({ name, identity, train, validation }: ImageDataset): DatasetIdentity {
  const validationCount = validation && { validationCount: validation.count };
  return { name, identity, trainCount: train.count, ...validationCount };
}

/** The error of a lost device: what fails then may say anything, and the report may come later. */
async function lossOfDevice(): Promise<unknown> {
  const gpu = currentGpu();
  if (!gpu) return undefined;
  const error = await checkGpu(gpu).then(() => undefined, (error: unknown) => error);
  return gpu.lost ? error : undefined;
}
