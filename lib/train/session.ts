/**
 * A run under way: the loop between its first weights and the evaluation of its best ones, and what
 * is saved when.
 */
import type { tf } from "../tfjs.ts";
import { checkGpu, currentGpu } from "../backend/device.ts";
import { computedOn } from "../backend/select.ts";
import { appendHistory, rewindHistory, writeConfig } from "../checkpoint/run_folder.ts";
import {
  type DatasetIdentity,
  loadState,
  loadWeights,
  saveWeights,
  type TrainingState,
  type WeightsState,
} from "../checkpoint/state.ts";
import { StateKeeper } from "../checkpoint/states.ts";
import { modelConfigOf } from "../config/run.ts";
import { limitSplit } from "../data/dataset.ts";
import { createViTClassifier, namedVariables } from "../models/vit_classifier.ts";
import type { AdamW } from "../optim/adamw.ts";
import { DeviceSplit, type Preprocessing } from "./batches.ts";
import { findNonFinite } from "./diagnose.ts";
import { evaluate, type Evaluation } from "./evaluate.ts";
import {
  Diverged,
  type EpochRecord,
  fit,
  type Progress,
  startOfRun,
  stepsPerEpoch,
} from "./fit.ts";
import { assignInitialWeights } from "./initial_weights.ts";
import type { RunOptions } from "./run.ts";
import { Saver } from "./saver.ts";
import {
  assignVariables,
  assignWeights,
  isFinite,
  readState,
  readVariables,
  restoreState,
} from "./weights.ts";

/** What a run works with, on the device and beside it; stays the caller's. */
export interface Parts {
  identity: DatasetIdentity;
  how: Preprocessing;
  model: tf.LayersModel;
  optimizer: AdamW;
  train: DeviceSplit;
  validation: DeviceSplit | null;
}

/** A run under way: its progress, and when and how it is saved. */
export class Session {
  readonly progress: Progress;
  private readonly variables: Map<string, tf.Variable>;
  private readonly keeper: StateKeeper;
  private readonly saver: Saver;
  private readonly perEpoch: number;
  /** Whether `last` is of this process. */
  private hasSaved = false;
  /** An epoch has ended whose record is not yet on disk. */
  private owesEpoch = false;

  constructor(private readonly options: RunOptions, private readonly parts: Parts) {
    const { config, resume, folder, keep = 2, now = () => performance.now() } = options;
    this.variables = namedVariables(parts.model);
    this.perEpoch = stepsPerEpoch(config, parts.train.count);
    this.progress = startOfRun();
    if (resume) {
      const { step, sums, bestValAccuracy, skippedSteps = 0 } = resume;
      Object.assign(this.progress, { step, sums: { ...sums }, bestValAccuracy, skippedSteps });
    }
    this.keeper = new StateKeeper(folder, keep);
    this.saver = new Saver(options.saveEvery ?? null, this.progress.step, now);
  }

  /** Puts the first weights on the device, and the folder in their state. */
  async begin(): Promise<void> {
    const { config, dataset, folder, resume, initial, onNotice } = this.options;
    if (resume) restoreState(resume, this.variables, this.parts.optimizer);
    else if (initial) {
      const { classNames } = dataset;
      const notice = await assignInitialWeights(this.variables, initial, config, classNames);
      if (notice) onNotice?.(notice);
    }
    // The epoch under way has no line yet, even if all its images are seen.
    await rewindHistory(folder.history, resume?.epoch ?? 0);
    if (resume && resume.config.epochs !== config.epochs) await writeConfig(folder, config);
    // Random weights can be made again from the seed, these cannot.
    if (!resume && initial) await this.save();
  }

  /** Trains to the end or until the signal aborts; true at the end. All is saved by then. */
  async train(): Promise<boolean> {
    const { options, parts, saver, progress } = this;
    try {
      const complete = await fit({
        ...options,
        ...parts,
        variables: [...this.variables.values()],
        progress,
        ...(options.onNan === "skip" && { readSkipped: () => parts.optimizer.readSkipped() }),
        isSaveDue: (step) => saver.isDue(step),
        onSave: () => this.save(),
        rest: () => saver.rest(),
        onEpoch: async (record, isBest) => {
          this.owesEpoch = true;
          await this.save(record, isBest);
          options.onEpoch?.(record, isBest);
        },
      });
      if (!complete) await this.save();
      await saver.settled();
      return complete;
    } catch (error) {
      // The first error is the one to report.
      await saver.settled().catch(() => {});
      if (error instanceof Diverged) throw await this.explained(error);
      const loss = await lossOfDevice();
      if (loss) throw loss;
      if (this.isGood()) {
        await this.save().then(() => saver.settled()).catch(() => {});
      }
      throw error;
    }
  }

  /** Loads the best weights and evaluates them on the test images; null if the signal aborts that. */
  async test(): Promise<Evaluation | null> {
    const { config, dataset, folder, onTest, signal } = this.options;
    assignWeights(this.parts.model, (await loadWeights(folder.best)).weights, folder.best);
    const split = new DeviceSplit(limitSplit(dataset.test, config.limit), this.parts.how);
    try {
      return await evaluate(this.parts.model, split, { ...config, onBatch: onTest, signal });
    } catch (error) {
      if (signal?.aborted) return null;
      throw error;
    } finally {
      split.dispose();
    }
  }

  /** Reads the state from the device, which training waits for, and starts to write it. */
  private async save(record?: EpochRecord, isBest = false): Promise<void> {
    const { folder, onSave } = this.options;
    await this.saver.settled();
    const state = await this.snapshot();
    await this.saver.start(state.step, async () => {
      if (isBest) await saveWeights(folder.best, state);
      if (record) await appendHistory(folder.history, { ...record });
      await this.keeper.save(state);
      this.hasSaved = true;
      if (record) this.owesEpoch = false;
      onSave?.(state.step);
    });
  }

  private async snapshot(): Promise<TrainingState> {
    const { options: { config, dataset, versions }, parts: { identity, how } } = this;
    const read = await readState(this.variables, this.parts.optimizer);
    for (const [name, { data }] of read.weights) {
      // The loss of the next step would show it, but by then the weights that were good are lost.
      if (!isFinite(data)) throw new Diverged(`weight ${name}`, this.progress.step, config);
    }
    return {
      ...read,
      ...positionOf(this.progress, this.perEpoch),
      seed: config.seed,
      config,
      dataset: identity,
      preprocessing: how,
      classNames: dataset.classNames,
      versions,
      computedOn: computedOn(),
    };
  }

  /** Whether the device holds the state that `progress` says, after an error at any moment. */
  private isGood(): boolean {
    const { parts: { optimizer, train }, progress: { step, sums }, options: { config } } = this;
    if (this.owesEpoch || optimizer.step !== step) return false;
    const position = step % this.perEpoch;
    return sums.images === position * config.batchSize ||
      (position === 0 && sums.images === train.count);
  }

  /** The same error with the first tensor that was NaN or infinite, where it can be found. */
  private async explained(error: Diverged): Promise<Diverged> {
    const { options, parts: { model, optimizer, train }, variables } = this;
    try {
      const step = await this.rewind();
      if (step >= error.step) return error;
      options.onNotice?.(
        `The ${error.what} became NaN or infinite at step ${error.step}; looking for the first ` +
          `such tensor from step ${step} on.`,
      );
      const { config, signal } = options;
      const rewound = { config, model, variables, optimizer, train, step, signal };
      const first = await findNonFinite(rewound, error.step);
      return new Diverged(error.what, error.step, config, first);
    } catch {
      return error;
    }
  }

  /** Puts the newest good state back on the device and gives its step. */
  private async rewind(): Promise<number> {
    const { options: { config, dataset, folder, resume, initial }, variables } = this;
    const { optimizer } = this.parts;
    const state = this.hasSaved ? await loadState(folder.last) : resume;
    if (state) {
      restoreState(state, variables, optimizer);
      return state.step;
    }
    const fresh = createViTClassifier(modelConfigOf(config), { seed: config.seed });
    try {
      assignVariables(variables, await readVariables(namedVariables(fresh)), "of the start");
    } finally {
      fresh.dispose();
    }
    if (initial) await assignInitialWeights(variables, initial, config, dataset.classNames);
    optimizer.restore(0, new Map());
    return 0;
  }
}

/** The error of a lost device: what fails then may say anything, and the report may come later. */
async function lossOfDevice(): Promise<unknown> {
  const gpu = currentGpu();
  if (!gpu) return undefined;
  const error = await checkGpu(gpu).then(() => undefined, (error: unknown) => error);
  return gpu.lost ? error : undefined;
}

function positionOf(progress: Progress, perEpoch: number): Pick<
  WeightsState,
  "step" | "epoch" | "positionInEpoch" | "sums" | "bestValAccuracy" | "skippedSteps"
> {
  const { step, sums, bestValAccuracy, skippedSteps } = progress;
  const pending = sums.images > 0 && step % perEpoch === 0;
  const epoch = Math.floor(step / perEpoch) - (pending ? 1 : 0);
  return {
    step,
    epoch,
    positionInEpoch: step - epoch * perEpoch,
    sums,
    bestValAccuracy,
    ...(skippedSteps > 0 && { skippedSteps }),
  };
}
