/** The line that an epoch leaves in the history, as far as the numbers make it. */
import type { Progress } from "../checkpoint/progress.ts";
import type { EpochLine } from "./events.ts";
import { type Metrics, metricsOf } from "./metrics.ts";

/**
 * The means of the epoch in hand: of what was trained on, of what is held out, and of the same by the
 * weights' running average, `undefined` where there is none.
 */
export function lineOf(
  { epoch, step, sums, skippedSteps }: Progress,
  held: Metrics | null,
  averaged: Metrics | null | undefined,
): Omit<EpochLine, "learningRate" | "seconds" | "date"> {
  return {
    epoch: epoch + 1,
    step,
    ...metricsOf(sums),
    valLoss: held?.loss ?? null,
    valAccuracy: held?.accuracy ?? null,
    valTop5: held?.top5 ?? null,
    ...(averaged !== undefined && {
      emaValLoss: averaged?.loss ?? null,
      emaValAccuracy: averaged?.accuracy ?? null,
      emaValTop5: averaged?.top5 ?? null,
    }),
    ...(skippedSteps && { skippedSteps }),
  };
}
