/** What a run tells while it goes: one union, so that a listener says once what it wants to hear. */
import type { Metrics } from "./metrics.ts";

/** One line of the history: the means of one epoch. */
export interface EpochRecord {
  /** From 1. */
  epoch: number;
  /** Training steps done at its end. */
  step: number;
  loss: number;
  accuracy: number;
  top5: number;
  /** Null without validation, as are the two below. */
  valLoss: number | null;
  valAccuracy: number | null;
  valTop5: number | null;
  /** The same of the weights' running average; absent where there is none. */
  emaValLoss?: number | null;
  emaValAccuracy?: number | null;
  emaValTop5?: number | null;
  /** Updates left out since the start of the run; absent for none. */
  skippedSteps?: number;
  /** The step size of the epoch's last update. */
  learningRate: number;
  /** Wall-clock seconds of the epoch, validation included; of a resumed epoch, since it went on. */
  seconds: number;
  /** When it ended, in UTC: `2026-11-25T17:46:16Z`. */
  date: string;
}

/**
 * Whether the weights' running average is better than the weights themselves; where nothing is held
 * out, an average counts as better.
 */
export function isAverageBetter(
  { valAccuracy, emaValAccuracy }: Pick<EpochRecord, "valAccuracy" | "emaValAccuracy">,
): boolean {
  if (emaValAccuracy === undefined) return false;
  return emaValAccuracy === null || valAccuracy === null || emaValAccuracy > valAccuracy;
}

/** The means over the epoch so far, after a read of the metrics. */
export interface StepEvent extends Metrics {
  type: "step";
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Step within the epoch, from 1. */
  stepInEpoch: number;
  stepsPerEpoch: number;
  /** Training steps done since the start of the run. */
  step: number;
  imagesSeen: number;
  /** Updates left out since the start of the run. */
  skippedSteps: number;
}

/** What happened. */
export type RunEvent =
  /** Training begins or goes on at a step; its first step, which compiles kernels, follows. */
  | { type: "start"; step: number; epochs: number; stepsPerEpoch: number }
  | StepEvent
  /** So many images of the validation or test split are evaluated. */
  | { type: "validation" | "test"; done: number; count: number }
  | { type: "epoch"; record: EpochRecord; isBest: boolean }
  /** The state of a step is whole in its file. */
  | { type: "save"; step: number }
  /** A sentence that a person should read. */
  | { type: "notice"; text: string };
