/** Summary of a run that has ended; pure functions from results to lines. */
import { formatDuration } from "./progress.ts";

/** Means over images; accuracies 0 to 1. */
export interface Result {
  readonly loss: number;
  readonly accuracy: number;
  readonly top5: number;
}

/** An epoch and what its weights reached. */
export interface BestEpoch {
  /** From 1. */
  epoch: number;
  /** 0 to 1; null without validation. */
  valAccuracy: number | null;
}

/**
 * The epoch of a history whose weights are the best: the first of those equal; null for no history.
 */
export function bestEpoch(
  history: readonly { epoch: number; valAccuracy?: number | null }[],
): BestEpoch | null {
  let best: BestEpoch | null = null;
  for (const { epoch, valAccuracy = null } of history) {
    // Without validation the newest weights are the best there are.
    if (best && valAccuracy !== null && valAccuracy <= (best.valAccuracy ?? -1)) continue;
    best = { epoch, valAccuracy };
  }
  return best;
}

/** A complete run. */
export interface RunSummary {
  /** The run's folder, as the user would name it. */
  run: string;
  epochs: number;
  step: number;
  /** The epoch whose weights were tested; null where it is not known. */
  best: BestEpoch | null;
  /** Of the test images. */
  test: Result;
  /** Wall-clock seconds of this process's part, evaluation included. */
  seconds: number;
  /** The report's file; undefined where none was made. */
  report?: string;
}

/** 0.5514 as `55.14 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** `test: loss 3.8672  top-1 55.14 %  top-5 81.86 %`. */
export function formatResult(name: string, { loss, accuracy, top5 }: Result): string {
  return `${name}: loss ${loss.toFixed(4)}  top-1 ${percent(accuracy)}  top-5 ${percent(top5)}`;
}

/**
 * The end of a run and what to do with it next, in lines that fit 80 columns but for long paths.
 */
export function formatSummary(summary: RunSummary): string[] {
  const { run, epochs, step, best, test, seconds, report } = summary;
  const validation = best?.valAccuracy == null
    ? "the newest, as no images are held out"
    : `val_accuracy ${percent(best.valAccuracy)}`;
  const path = shellWord(run);
  return [
    ...best ? [`Best epoch: ${best.epoch} of ${epochs} (${validation})`] : [],
    formatResult("test", test),
    `Time: ${formatDuration(seconds)}, step ${step}`,
    `Run: ${run}`,
    ...report === undefined ? [] : [`Report: ${report}`],
    "Next:",
    `  deno task eval ${path}`,
    `  deno task predict ${path} photo.jpg`,
    ...report === undefined ? [`  deno task report ${path}`] : [],
    `  deno task export ${path} --format onnx --out model.onnx`,
  ];
}

/** A path as a shell takes it for one word. */
export function shellWord(path: string): string {
  return /^[\w@%+=:,./\\-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
