/** Events of a run: one union, so that a listener says once what it wants to hear. */
import type { Metrics } from "./metrics.ts";

/** One line of the history: the means of one epoch. */
export interface EpochLine {
  /** From 1. */
  epoch: number;
  /** Training steps done at its end. */
  step: number;
  /** Mean of the train images, with dropout and augmentation. */
  loss: number;
  /** Share of them whose first guess was right, 0 to 1. */
  accuracy: number;
  /** Share with the right class among the first five. */
  top5: number;
  /** Null without validation, as are the two below. */
  valLoss: number | null;
  /** Accuracy of the images held out. */
  valAccuracy: number | null;
  /** Top-5 accuracy of the images held out. */
  valTop5: number | null;
  /** Loss of the images held out by the weights' running average; absent where there is none. */
  emaValLoss?: number | null;
  /** Their accuracy, likewise. */
  emaValAccuracy?: number | null;
  /** Their top-5 accuracy, likewise. */
  emaValTop5?: number | null;
  /** Updates left out since the start of the run; absent for none. */
  skippedSteps?: number;
  /** The step size of the epoch's last update. */
  learningRate: number;
  /** Wall-clock seconds of the epoch, validation included; of a resumed epoch, since it went on. */
  seconds: number;
  /** Time of its end, in UTC: `2026-11-25T17:46:16Z`. */
  date: string;
}

/**
 * Whether the weights' running average is better than the weights themselves; where nothing is held
 * out, an average counts as better.
 */
export function isAverageBetter(
  { valAccuracy, emaValAccuracy }: Pick<EpochLine, "valAccuracy" | "emaValAccuracy">,
): boolean {
  if (emaValAccuracy === undefined) return false;
  return emaValAccuracy === null || valAccuracy === null || emaValAccuracy > valAccuracy;
}

/** The means over the epoch so far, after a read of the metrics. */
export interface StepEvent extends Metrics {
  /** Kind of the event. */
  type: "step";
  /** From 1. */
  epoch: number;
  /** Epochs of the whole run. */
  epochs: number;
  /** Step within the epoch, from 1. */
  stepInEpoch: number;
  /** Steps of one epoch. */
  stepsPerEpoch: number;
  /** Training steps done since the start of the run. */
  step: number;
  /** Images of this epoch so far. */
  imagesSeen: number;
  /** Updates left out since the start of the run. */
  skippedSteps: number;
}

/** Event of a run. */
export type RunEvent =
  /** Training begins or goes on at a step; its first step, which compiles kernels, follows. */
  | { type: "start"; step: number; epochs: number; stepsPerEpoch: number }
  | StepEvent
  /** So many images of the validation or test split are evaluated, or have their features. */
  | { type: "validation" | "test" | "features"; done: number; count: number }
  | { type: "epoch"; line: EpochLine; isBest: boolean }
  /** The state of a step is whole in its file. */
  | { type: "save"; step: number }
  /** A sentence that a person should read. */
  | { type: "notice"; text: string };
