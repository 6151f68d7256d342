/**
 * A run from its first step to its folder's last file: data to the device, model, optimizer, the
 * loop, what is saved when, and the evaluation of the best weights on the test images.
 */
import { tf } from "../tfjs.ts";
import { withGpuCheck } from "../backend/device.ts";
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
import {
  diverged,
  type EpochRecord,
  fit,
  type FitOptions,
  type Progress,
  startOfRun,
  stepsPerEpoch,
} from "./fit.ts";
import { assertStepFits } from "./memory.ts";

/** What a run is made of. */
export interface RunOptions extends Pick<FitOptions, "readEvery" | "signal"> {
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
 * when a tensor is above the device's limit, when the device is lost, or when the loss becomes NaN;
 * what is saved by then stays as it is
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
  assertStepFits(config, Math.min(config.batchSize, train.count));

  using owned = new DisposableStack();
  const own = <T extends { dispose(): unknown }>(resource: T): T =>
    owned.adopt(resource, () => void resource.dispose());
  const model = own(createViTClassifier(modelConfigOf(config), { seed: config.seed }));
  const variables = namedVariables(model);
  const optimizer = own(new AdamW(config));
  const progress: Progress = resume ? restore(resume, variables, optimizer) : startOfRun();
  // The epoch under way has no line yet, even if all its images are seen.
  if (resume) await rewindHistory(folder.history, resume.epoch);

  const snapshot = async (): Promise<TrainingState> => {
    const read = await readState(variables, optimizer);
    for (const [name, { data }] of read.weights) {
      // The loss of the next step would show it, but by then the weights that were good are lost.
      if (!isFinite(data)) throw diverged(`weight ${name}`, progress.step, config);
    }
    return {
      ...read,
      ...positionOf(progress, stepsPerEpoch(config, train.count)),
      seed: config.seed,
      config,
      dataset: identity,
      preprocessing: how,
      classNames: dataset.classNames,
      versions: options.versions,
    };
  };
  const complete = await fit({
    ...options,
    model,
    variables: [...variables.values()],
    optimizer,
    train: own(new DeviceSplit(train, how)),
    validation: validation.count > 0 ? own(new DeviceSplit(validation, how)) : null,
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
  const test = complete ? await testBest(options, model, how) : null;
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
  // At once, because on webgpu each read alone waits for some 11 ms.
  const read = [...variables].map(async ([name, variable]): Promise<[string, FloatTensor]> => {
    return [name, { shape: variable.shape, data: await variable.data<"float32">() }];
  });
  const weights = new Map(await withGpuCheck(() => Promise.all(read)));
  const moments = await withGpuCheck(() => optimizer.readMoments(variables.values()));
  const momentsOf = (part: "m" | "v") =>
    new Map([...variables].map(([name, variable]): [string, FloatTensor] => {
      return [name, { shape: variable.shape, data: moments.get(variable.name)![part] }];
    }));
  return { weights, moments1: momentsOf("m"), moments2: momentsOf("v") };
}

function isFinite(data: Float32Array): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return false;
  return true;
}
