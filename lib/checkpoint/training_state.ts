/** What a run's state is: its weights, where it stands, and what it was trained on. */
import { computedOnSchema } from "../backend/computed_on.ts";
import type { RunConfig } from "../config/run.ts";
import { preprocessingSchema } from "../data/preprocessing.ts";
import { z } from "../deps.ts";
import { progressFields } from "./progress.ts";

/** A float32 array of a model, row-major. */
export interface FloatTensor {
  /** Extents, outermost first. */
  readonly shape: readonly number[];
  /** As many elements as the shape has. */
  readonly data: Float32Array;
}

const datasetSchema = z.strictObject({
  name: z.string(),
  /** Checksum of the record bytes. */
  identity: z.string(),
  /** Records in the train split before validation is held out. */
  trainCount: z.int().min(0),
  /** How many records the data set itself held out; absent where validation is a part of train. */
  validationCount: z.int().min(0).optional(),
});

/**
 * In the order in which files have them.
 */
export const progressSchema = z.strictObject({
  step: progressFields.step,
  epoch: progressFields.epoch,
  positionInEpoch: progressFields.positionInEpoch,
  seed: z.int().min(0),
  bestValAccuracy: progressFields.bestValAccuracy,
  epochsSinceBest: progressFields.epochsSinceBest,
  skippedSteps: progressFields.skippedSteps,
  dataset: datasetSchema,
  sums: progressFields.sums,
  /** Preparation of stored bytes as model input. */
  preprocessing: preprocessingSchema,
  /** In the order of the logits. */
  classNames: z.array(z.string()),
  /** Of the libraries that made the file. */
  versions: z.record(z.string(), z.string()),
  /** Absent where it is not known. */
  computedOn: computedOnSchema.optional(),
});

/** @internal */
type DatasetSchema = typeof datasetSchema;
/** @internal */
type ProgressSchema = typeof progressSchema;

/** Identity of the data that a run was trained on. */
export type DatasetIdentity = z.infer<DatasetSchema>;

/** Weights and their origin: enough to evaluate and to begin from, not to resume. */
export interface WeightsState extends z.infer<ProgressSchema> {
  /** By name, such as `blocks.0.attention.query.kernel`. */
  weights: ReadonlyMap<string, FloatTensor>;
  /** Of the run. */
  config: RunConfig;
}

/** Everything that training goes on from. */
export interface TrainingState extends WeightsState {
  /** First moments of Adam by the names of their weights. */
  moments1: ReadonlyMap<string, FloatTensor>;
  /** Second moments, likewise. */
  moments2: ReadonlyMap<string, FloatTensor>;
  /** Running averages of the weights, likewise; present where the configuration has an `ema`. */
  averages?: ReadonlyMap<string, FloatTensor>;
}
