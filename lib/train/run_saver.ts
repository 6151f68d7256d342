/**
 * Files that a run leaves on disk, and when.
 *
 * A save writes, in this order: the best weights, the lines of the history, the state. Each of
 * these is whole or absent, and the state comes last, so whatever fails in between, the state on
 * disk never claims what is not there: a run that goes on from it does again what came after.
 *
 * Epochs that have ended are owed until a save has written them. A save in flight may fail while
 * the next epoch ends; the one after it, or the last one before an error ends the run, pays for
 * both.
 */
import type { RunFolder } from "../checkpoint/run_folder.ts";
import { appendHistory } from "../checkpoint/history.ts";
import { saveWeights } from "../checkpoint/state.ts";
import type { TrainingState } from "../checkpoint/training_state.ts";
import { StateKeeper } from "../checkpoint/states.ts";
import { type EpochLine, isAverageBetter } from "./events.ts";
import type { Keeper } from "./fit.ts";
import { type SaveEvery, Saver } from "./saver.ts";

/** Options of {@linkcode RunSaver}. */
export interface RunSaverOptions {
  folder: RunFolder;
  every: SaveEvery;
  /** Number of states that stay in the folder, at least 1. */
  keep: number;
  /** The step that the run stands at. */
  step: number;
  /** Milliseconds of a clock that never goes back. */
  now: () => number;
  /** Throws when the folder is no longer the run's, and what is saved there would be lost. */
  checkFolder: () => Promise<void>;
  /** Reads the state from the device. */
  snapshot: () => Promise<TrainingState>;
  /** Told when the state of a step is whole in its file. */
  onSave: (step: number) => void;
}

/** An ended epoch that is not yet on disk. */
interface OwedEpoch {
  readonly line: EpochLine;
  /** Of the epoch's weights, when they are the best so far; read with the first save after it. */
  best: TrainingState | "unread" | null;
}

/** What a process has that saves nothing: another one of its ranks does. */
export const noSaver: Pick<RunSaver, keyof RunSaver> = {
  hasSaved: false,
  isDue: () => false,
  ...{ save: nothing, saveEpoch: nothing, rest: nothing, settled: nothing, rescue: nothing },
};

function nothing(): Promise<void> {
  return Promise.resolve();
}

/** Saves a run while it is trained, one save at a time, and before an error ends it. */
export class RunSaver implements Keeper {
  private readonly states: StateKeeper;
  private readonly saver: Saver;
  private owed: OwedEpoch[] = [];
  /** Whether `last` is of this process. */
  hasSaved = false;

  constructor(private readonly options: RunSaverOptions) {
    const { folder, keep, every, step, now } = options;
    this.states = new StateKeeper(folder, keep);
    this.saver = new Saver(every, step, now);
  }

  /** @throws what a save has failed with */
  isDue(step: number): boolean {
    return this.saver.isDue(step);
  }

  async save(): Promise<void> {
    await this.saver.settled();
    await this.start();
  }

  async saveEpoch(line: EpochLine, isBest: boolean): Promise<void> {
    // Owed from now on, even if the save in flight turns out to have failed.
    this.owed.push({ line, best: isBest ? "unread" : null });
    await this.save();
  }

  rest(): Promise<void> {
    return this.saver.rest();
  }

  /** Waits for the save in flight; throws what it has failed with. */
  settled(): Promise<void> {
    return this.saver.settled();
  }

  /**
   * Saves once more after an error, where the device still holds what the progress says; a second
   * failure is silent, as the first one is what to report.
   */
  async rescue(): Promise<void> {
    await this.start().then(() => this.saver.settled()).catch(() => {});
  }

  /** Reads the state from the device, which training waits for, and starts to write it. */
  private async start(): Promise<void> {
    const state = await this.options.snapshot();
    for (const epoch of this.owed) {
      // Training waits since the epoch's end, so these are its weights.
      if (epoch.best === "unread") epoch.best = state;
    }
    await this.saver.start(state.step, () => this.write(state));
  }

  private async write(state: TrainingState): Promise<void> {
    const { folder, checkFolder, onSave } = this.options;
    // Before the first wait: an epoch that ends meanwhile has other weights than this state.
    const paid = [...this.owed];
    await checkFolder();
    const { line, best } = paid.findLast((epoch) => epoch.best !== null) ?? {};
    if (line && best && best !== "unread") {
      const weights = isAverageBetter(line) ? best.averages! : best.weights;
      await saveWeights(folder.best, { ...best, weights });
    }
    for (const { line } of paid) await appendHistory(folder.history, { ...line });
    await this.states.save(state);
    this.hasSaved = true;
    this.owed = this.owed.filter((epoch) => !paid.includes(epoch));
    onSave(state.step);
  }
}
