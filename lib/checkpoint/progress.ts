/** Place where a run stands: with weights and moments, all that it takes to go on. */
import { z } from "../deps.ts";

/**
 * Schema of {@linkcode MetricSums}.
 */
const sumsSchema = z.strictObject({
  loss: z.number(),
  top1: z.number(),
  top5: z.number(),
  images: z.int().min(0),
  /** Number of images that are in no other sum, their loss being NaN or infinite; absent for 0. */
  skipped: z.int().min(0).optional(),
});

/** Fields of {@linkcode Progress}, as a checkpoint holds them. */
export const progressFields = {
  /** Optimizer steps taken since the run began. */
  step: z.int().min(0),
  /** The epoch that training goes on in, from 0. */
  epoch: z.int().min(0),
  /** Steps taken in that epoch; all of them while it waits for its validation. */
  positionInEpoch: z.int().min(0),
  /** Best val_accuracy, 0 to 1; -1 while no epoch has been validated. */
  bestValAccuracy: z.number(),
  /** Updates left out because a gradient was NaN or infinite; absent for 0. */
  skippedSteps: z.int().min(0).optional(),
  /** Sums over the images that the current epoch has seen; a resumed epoch goes on from them. */
  sums: sumsSchema,
};

const progressSchema = z.strictObject(progressFields);

/** @internal */
type SumsSchema = typeof sumsSchema;
/** @internal */
type ProgressSchema = typeof progressSchema;

/** Sums over the images seen. */
export type MetricSums = z.infer<SumsSchema>;

/** Place where a run stands. */
export type Progress = z.infer<ProgressSchema>;

/** Sums over no images. */
export function noSums(): MetricSums {
  return { loss: 0, top1: 0, top5: 0, images: 0 };
}

/**
 * Progress of a run that has not begun.
 *
 * @example
 * ```ts
 * import { startOfRun } from "../../mod.ts";
 *
 * console.log(startOfRun().step); // 0
 * ```
 */
export function startOfRun(): Progress {
  return { step: 0, epoch: 0, positionInEpoch: 0, bestValAccuracy: -1, sums: noSums() };
}

/** The progress alone of what holds more, such as a checkpoint; a copy. */
export function progressOf(state: Progress): Progress {
  const { step, epoch, positionInEpoch, bestValAccuracy, skippedSteps, sums } = state;
  return {
    ...{ step, epoch, positionInEpoch, bestValAccuracy, sums: { ...sums } },
    ...(skippedSteps !== undefined && { skippedSteps }),
  };
}
