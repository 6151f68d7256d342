/**
 * A run from its first step to its folder's last file: data to the device, model, optimizer, the
 * loop, what is saved when, and the evaluation of the best weights on the test images.
 */
import { tf } from "../tfjs.ts";
import { modelConfigOf, type RunConfig } from "../config.ts";
import { appendHistory, rewindHistory, type RunFolder } from "../checkpoint/run_folder.ts";
import {
  checkConfig,
  checkDataset,
  type FloatTensor,
  loadWeights,
  saveState,
  saveWeights,
  type TrainingState,
  type WeightsState,
} from "../checkpoint/state.ts";
import {
  channelStatistics,
  type ImageDataset,
  limitSplit,
  splitValidation,
} from "../data/dataset.ts";
import { UserError } from "../errors.ts";
import { createViTClassifier, namedVariables } from "../models/vit_classifier.ts";
import { AdamW } from "../optim/adamw.ts";
import { DeviceSplit, type Preprocessing } from "./batches.ts";
import { evaluate, type Evaluation } from "./evaluate.ts";
import { type EpochRecord, fit, type FitOptions, type Progress, startOfRun } from "./fit.ts";

/** What a run is made of. */
export interface RunOptions extends Pick<FitOptions, "readEvery" | "signal" | "checkDevice"> {
  config: RunConfig;
  dataset: ImageDataset;
  folder: RunFolder;
  /** A state to go on from; without it the run starts at step 0. */
  resume?: TrainingState;
  /** Names and versions to store in every checkpoint. */
  versions: Record<string, string>;
  onStep?: FitOptions["onStep"];
  onValidation?: FitOptions["onValidation"];
  onEpoch?: (record: EpochRecord, isBest: boolean) => void;
  onTest?: (done: number, count: number) => void;
}

/** How a run ended. */
export interface RunResult {
  /** False when the signal stopped it; `last` then holds the state. */
  complete: boolean;
  /** Training steps done. */
  step: number;
  /** The best weights on the test images; null unless complete. */
  test: Evaluation | null;
}

/**
 * Trains, saving `last` and, where val_accuracy rose, `best` after each epoch and when stopped.
 *
 * @throws {UserError} when data and model do not fit, when the state to resume is of another run,
 * or when the loss becomes NaN
 */
export async function trainRun(options: RunOptions): Promise<RunResult> {
  const { config, dataset, folder, resume } = options;
  checkClasses(config, dataset);
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
  if (train.count === 0) {
    throw new UserError(
      `validationSplit ${config.validationSplit} of ${all.count} records leaves none to train on.`,
    );
  }

  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const variables = namedVariables(model);
  const optimizer = new AdamW(config);
  const progress: Progress = resume ? restore(resume, variables, optimizer) : startOfRun();
  // The epoch under way has no line yet, even if all its images are seen.
  if (resume) await rewindHistory(folder.history, resume.epoch);

  const splits = [new DeviceSplit(train, how)];
  if (validation.count > 0) splits.push(new DeviceSplit(validation, how));
  const snapshot = async (): Promise<TrainingState> => ({
    ...await readState(variables, optimizer),
    ...positionOf(progress, Math.ceil(train.count / config.batchSize)),
    seed: config.seed,
    config,
    dataset: identity,
    preprocessing: how,
    classNames: dataset.classNames,
    versions: options.versions,
  });

  let complete: boolean;
  try {
    complete = await fit({
      ...options,
      model,
      variables: [...variables.values()],
      optimizer,
      train: splits[0]!,
      validation: splits[1] ?? null,
      progress,
      onEpoch: async (record, isBest) => {
        const state = await snapshot();
        if (isBest) await saveWeights(folder.best, state);
        await appendHistory(folder.history, { ...record });
        await saveState(folder.last, state);
        options.onEpoch?.(record, isBest);
      },
    });
    if (!complete) await saveState(folder.last, await snapshot());
  } finally {
    for (const split of splits) split.dispose();
    optimizer.dispose();
  }
  const test = complete ? await testBest(options, model, how) : null;
  model.dispose();
  return { complete, step: progress.step, test };
}

/** Loads the best weights and evaluates them on the test images. */
async function testBest(
  options: RunOptions,
  model: tf.LayersModel,
  how: Preprocessing,
): Promise<Evaluation> {
  const { config, dataset, folder } = options;
  assignWeights(model, (await loadWeights(folder.best)).weights, folder.best);
  const split = new DeviceSplit(limitSplit(dataset.test, config.limit), how);
  try {
    return await evaluate(model, split, { ...config, onBatch: options.onTest });
  } finally {
    split.dispose();
  }
}

/**
 * Replaces the weights of a model.
 * @param source named in the error
 * @throws {UserError} naming the first weight that is missing or of another shape
 */
export function assignWeights(
  model: tf.LayersModel,
  weights: ReadonlyMap<string, FloatTensor>,
  source: string,
): void {
  assignVariables(namedVariables(model), weights, source);
}

function assignVariables(
  variables: ReadonlyMap<string, tf.Variable>,
  weights: ReadonlyMap<string, FloatTensor>,
  source: string,
): void {
  for (const [name, variable] of variables) {
    const weight = weights.get(name);
    if (!weight || `${weight.shape}` !== `${variable.shape}`) {
      const found = weight ? `has the shape [${weight.shape}]` : "is missing";
      throw new UserError(
        `The checkpoint ${source} is of another model: its weight ${name} ${found}, ` +
          `this model needs [${variable.shape}].`,
      );
    }
  }
  tf.tidy(() => {
    for (const [name, variable] of variables) {
      const { data, shape } = weights.get(name)!;
      variable.assign(tf.tensor(data, [...shape]));
    }
  });
}

function checkClasses(config: RunConfig, dataset: ImageDataset): void {
  const needed = dataset.classNames.length;
  if (config.numClasses < needed) {
    throw new UserError(
      `numClasses ${config.numClasses} is less than the ${needed} classes of ${dataset.name}; ` +
        `set --num-classes ${needed} or leave it out.`,
    );
  }
  if (config.channels !== dataset.channels) {
    throw new UserError(
      `channels ${config.channels} is not the ${dataset.channels} of ${dataset.name}.`,
    );
  }
}

function restore(
  state: TrainingState,
  variables: ReadonlyMap<string, tf.Variable>,
  optimizer: AdamW,
): Progress {
  assignVariables(variables, state.weights, "to resume");
  const moments = new Map<string, { m: Float32Array; v: Float32Array }>();
  for (const [name, variable] of variables) {
    const [m, v] = [state.moments1.get(name), state.moments2.get(name)];
    if (m && v) moments.set(variable.name, { m: m.data, v: v.data });
  }
  optimizer.restore(state.step, moments);
  return {
    step: state.step,
    sums: { ...state.sums },
    bestValAccuracy: state.bestValAccuracy,
  };
}

function positionOf(progress: Progress, perEpoch: number): Pick<
  WeightsState,
  "step" | "epoch" | "positionInEpoch" | "sums" | "bestValAccuracy"
> {
  const pending = progress.sums.images > 0 && progress.step % perEpoch === 0;
  const epoch = Math.floor(progress.step / perEpoch) - (pending ? 1 : 0);
  return {
    step: progress.step,
    epoch,
    positionInEpoch: progress.step - epoch * perEpoch,
    sums: progress.sums,
    bestValAccuracy: progress.bestValAccuracy,
  };
}

/** Weights and moments, read from the device. */
async function readState(
  variables: ReadonlyMap<string, tf.Variable>,
  optimizer: AdamW,
): Promise<Pick<TrainingState, "weights" | "moments1" | "moments2">> {
  const weights = new Map<string, FloatTensor>();
  const moments1 = new Map<string, FloatTensor>();
  const moments2 = new Map<string, FloatTensor>();
  for (const [name, variable] of variables) {
    const { m, v } = optimizer.momentsFor(variable);
    weights.set(name, await floatTensor(variable));
    moments1.set(name, await floatTensor(m));
    moments2.set(name, await floatTensor(v));
  }
  return { weights, moments1, moments2 };
}

async function floatTensor(tensor: tf.Tensor): Promise<FloatTensor> {
  return { shape: tensor.shape, data: await tensor.data<"float32">() };
}
