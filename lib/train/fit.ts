/**
 * The training loop.
 *
 * All of a run's numbers follow from (configuration, data, step): the order of an epoch, the
 * augmentation and the dropout masks of a step are computed from counters, so the loop can start
 * anywhere and go on exactly as a run that was never interrupted.
 */
import { tf } from "../tfjs.ts";
import { adviseBatch } from "../backend/device.ts";
import type { Ranks } from "../distributed/ranks.ts";
import { noSums, type Progress, startOfRun } from "../checkpoint/progress.ts";
import { parseRunConfig, type RunConfig } from "../config/run.ts";
import { isAdapter } from "../models/lora.ts";
import { rateFactors, type StepModel, trainedVariables } from "../models/trained.ts";
import { namedVariables } from "../models/vit_classifier.ts";
import { UserError } from "../errors.ts";
import { AdamW } from "../optim/adamw.ts";
import { scheduleFactor } from "../optim/schedules.ts";
import { WeightAverage } from "../optim/weight_average.ts";
import { batchAt, type BatchSource, epochOrder, stepsPerEpoch } from "./batches.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { DeviceDataset } from "./device_dataset.ts";
import { Diverged } from "./diverged.ts";
import { lineOf } from "./epoch_line.ts";
import { evaluate } from "./evaluate.ts";
import type { EpochLine, RunEvent } from "./events.ts";
import { keepFeatures } from "./features.ts";
import {
  type BatchMetrics,
  DeviceMetrics,
  HostMetrics,
  type Metrics,
  metricsOf,
} from "./metrics.ts";
import { MetricsReader } from "./metrics_reader.ts";
import { capturedMemoryText } from "./memory_text.ts";
import { checkPrecision } from "./precision.ts";
import { RankedStep } from "./ranked_step.ts";
import { assertSameWeights } from "./ranked_state.ts";
import { type Training, TrainingStep } from "./step.ts";

/** Saver of a run while it is trained; see run_saver.ts. */
export interface Keeper {
  /** Whether the run should be saved after this step. */
  isDue(step: number): boolean;
  /** Reads the state from the device, which training waits for, and starts to write it. */
  save(): Promise<void>;
  /** The same at the end of an epoch, whose line and whose weights belong to it. */
  saveEpoch(line: EpochLine, isBest: boolean): Promise<void>;
  /** Awaited after each step, so that what goes on beside the training can. */
  rest(): Promise<void>;
}

/** Options of {@linkcode fit}. */
export interface FitOptions {
  /** Configuration of the run. */
  config: RunConfig;
  /** Its variables are updated in place. */
  model: tf.LayersModel;
  /** Images to learn from and to validate on. */
  data: Pick<DeviceDataset, "train" | "validation">;
  /** Variables to train; by default all of the model that the configuration does not freeze. */
  variables?: tf.Variable[];
  /** A new one by default, made from the configuration and disposed of in the end. */
  optimizer?: AdamW;
  /** Of the variables; a new one by default where the configuration has an `ema`. */
  average?: WeightAverage;
  /** Place to start from, updated as the loop goes; the beginning by default. */
  progress?: Progress;
  /**
   * What a loss or gradient that is NaN or infinite does: `stop`, the default, ends the training;
   * `skip` leaves out that step's update, which the optimizer must be made for (`skipNonFinite`).
   */
  onNan?: "stop" | "skip";
  /** Finishes the step and returns when aborted; among ranks, when that of one of them is. */
  signal?: AbortSignal;
  /** Processes that train this model together, each of which calls this; this one alone by default. */
  ranks?: Ranks;
  /** Told what happens. */
  onEvent?: (event: RunEvent) => void;
  /** Saver; none by default. */
  keeper?: Keeper;
  /** Time; that of this machine by default. */
  clock?: Clock;
  /**
   * Milliseconds between two reads of the metrics, which the first step and the last of an epoch
   * have anyway. By default 250 on webgpu, where a read waits for the device and costs some 11 ms,
   * and 0 elsewhere: after each step.
   */
  readInterval?: number;
}

/** End of {@linkcode fit}. */
export interface FitResult {
  /** False when the signal ended it. */
  complete: boolean;
  /** The epochs that it has ended. */
  history: EpochLine[];
}

/** Most batches between two reads of the metrics. */
const CAPACITY = 256;

/**
 * Trains until `config.epochs` are done, `config.patience` epochs have brought nothing better, or the
 * signal aborts. Whatever ends it, `progress` then holds what the steps done have found, unless the
 * device can no longer be read.
 *
 * @throws {Diverged} naming the step at which the loss became NaN or infinite
 * @throws {UserError} when the configuration is wrong, the device has not its precision, is lost or out
 * of memory
 *
 * @example
 * ```ts
 * import { createShapes, createViTClassifier, DeviceDataset, fit } from "../../mod.ts";
 * import { modelConfigOf, preset, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 18 };
 * const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
 * using data = new DeviceDataset(createShapes({ train: 60, test: 20 }), config);
 * const { history } = await fit({ config, model, data });
 * console.log(history[0]!.step); // 3
 * ```
 */
export async function fit(options: FitOptions): Promise<FitResult> {
  const config = parseRunConfig(options.config);
  checkPrecision(config.precision);
  const { signal, keeper, onEvent, ranks } = options;
  const { progress = startOfRun(), clock = systemClock } = options;
  const { readInterval = tf.getBackend() === "webgpu" ? 250 : 0 } = options;
  // Infinity is fine.
  if (!(readInterval >= 0)) throw new UserError(`readInterval cannot be ${readInterval}.`);
  const named = namedVariables(options.model);
  if (config.lora > 0 && ![...named.keys()].some(isAdapter)) {
    throw new UserError(
      `lora ${config.lora} needs a model with its weights; give createViTClassifier the ` +
        `configuration as adapters, or leave lora out.`,
    );
  }
  const { variables = [...trainedVariables(named, config).values()] } = options;
  const history: EpochLine[] = [];
  const kept = config.cacheFeatures && progress.epoch < config.epochs
    ? await keepFeatures({ ...options, config })
    : undefined;
  if (kept === "stopped") return { complete: false, history };
  const { model, data }: Pick<Fitted, "model" | "data"> = kept ?? options;
  const parsed: Fitted = { ...options, config, model, data };
  const { train, validation } = data;
  const perEpoch = stepsPerEpoch(config.batchSize, train.count);

  using owned = new DisposableStack();
  const own = <T extends { dispose(): unknown }>(part: T): T =>
    owned.adopt(part, () => void part.dispose());
  const optimizer = options.optimizer ??
    own(new AdamW({ ...config, skipNonFinite: options.onNan === "skip" }));
  optimizer.scaleRates(rateFactors(named, config));
  const average = options.average ??
    (config.ema > 0 ? own(new WeightAverage(variables, config.ema)) : undefined);
  const parts = { config, model, variables, optimizer, average, train };
  let metrics: BatchMetrics;
  let training: Training;
  if (ranks) {
    const host = metrics = new HostMetrics();
    training = own(new RankedStep(parts, host, ranks, signal));
  } else {
    const device = metrics = own(new DeviceMetrics(CAPACITY));
    training = own(new TrainingStep(parts, device, signal));
  }
  const reader = new MetricsReader(options, progress, metrics, optimizer);
  let lastRead = -Infinity;
  let tellsMemory = config.precision !== "f32";
  let epochBegan = clock.now();

  onEvent?.({ type: "start", step: progress.step, epochs: config.epochs, stepsPerEpoch: perEpoch });
  try {
    while (progress.epoch < config.epochs) {
      if (isPatienceOver(config, progress)) {
        const text = `No better val_accuracy than ${progress.bestValAccuracy.toFixed(4)} for ` +
          `${config.patience} epochs: training ends after epoch ${progress.epoch} of ` +
          `${config.epochs}.`;
        onEvent?.({ type: "notice", text });
        break;
      }
      const order = epochOrder(train.count, config.seed, progress.epoch);
      while (progress.positionInEpoch < perEpoch) {
        if (training.isStopped) return { complete: false, history };
        const indices = batchAt(order, progress.positionInEpoch, config.batchSize);
        training.prefetch(indices);
        training.prefetch(batchAt(order, progress.positionInEpoch + 1, config.batchSize));
        await training.run(indices, progress.step);
        if (tellsMemory && training.memory) {
          onEvent?.({ type: "notice", text: capturedMemoryText(training.memory) });
          tellsMemory = false;
        }
        progress.step++;
        progress.positionInEpoch++;
        const isLast = progress.positionInEpoch === perEpoch;
        const isSaveDue = keeper?.isDue(progress.step) ?? false;
        const isReadDue = clock.now() - lastRead >= readInterval || metrics.unread === CAPACITY;
        if (isReadDue || isLast || isSaveDue || training.isStopped) {
          await reader.read();
          lastRead = clock.now();
          onEvent?.({
            type: "step",
            ...metricsOf(progress.sums),
            epoch: progress.epoch + 1,
            epochs: config.epochs,
            stepInEpoch: progress.positionInEpoch,
            stepsPerEpoch: perEpoch,
            step: progress.step,
            imagesSeen: progress.sums.images,
            skippedSteps: progress.skippedSteps ?? 0,
          });
        }
        if (isSaveDue) await keeper!.save();
        // A turn of the event loop, or signals and timers would wait until the run ends.
        await new Promise((resolve) => setTimeout(resolve, 0));
        await keeper?.rest();
        // What a signal found unread belongs to the state that is saved now.
        if (training.isStopped && metrics.unread > 0) await reader.read();
      }

      if (training.isStopped) return { complete: false, history };
      if (ranks) await assertSameWeights(ranks, variables);
      const held = validation && await validate(parsed, progress);
      const averaged = held !== "stopped" && held && average
        ? await average.during(() => validate(parsed, progress))
        : null;
      if (held === "stopped" || averaged === "stopped") return { complete: false, history };
      if (progress.sums.skipped === progress.sums.images) {
        throw new Diverged("loss of every step of an epoch", progress.step, config);
      }
      const line = {
        ...lineOf(progress, held, average && averaged),
        learningRate: optimizer.learningRate * scheduleFactor(config, progress.step - 1, perEpoch),
        seconds: Math.round(clock.now() - epochBegan) / 1000,
        date: clock.date().toISOString(),
      };
      epochBegan = clock.now();
      // Without validation the newest weights are the best there are.
      const accuracy = Math.max(line.valAccuracy ?? line.accuracy, line.emaValAccuracy ?? -1);
      const isBest = held === null || accuracy > progress.bestValAccuracy;
      if (isBest) progress.bestValAccuracy = accuracy;
      if (config.patience > 0) progress.epochsSinceBest = epochsSinceBest(isBest, progress);
      Object.assign(progress, { epoch: progress.epoch + 1, positionInEpoch: 0, sums: noSums() });
      history.push(line);
      await keeper?.saveEpoch(line, isBest);
      onEvent?.({ type: "epoch", line, isBest });
    }
    return { complete: true, history };
  } catch (error) {
    // What the steps done have found belongs to them, and their state may yet be saved.
    if (!(error instanceof Diverged)) await reader.read().catch(() => {});
    throw adviseBatch(error, config.batchSize / config.accumulate);
  }
}

function epochsSinceBest(isBest: boolean, progress: Progress): number | undefined {
  return isBest ? undefined : (progress.epochsSinceBest ?? 0) + 1;
}

function isPatienceOver({ patience }: RunConfig, { epochsSinceBest = 0 }: Progress): boolean {
  return patience > 0 && epochsSinceBest >= patience;
}

/** Options as the loop has them: of the images or their features, and of the model that takes them. */
interface Fitted extends Omit<FitOptions, "model" | "data"> {
  model: StepModel;
  data: { train: BatchSource; validation: BatchSource | null };
}

/** Means of the images held out, by the weights of now; `stopped` when the signal aborted meanwhile. */
async function validate(options: Fitted, progress: Progress): Promise<Metrics | "stopped"> {
  const { config, model, data, onEvent, ranks } = options;
  // A rank alone cannot leave what all do.
  const signal = ranks ? undefined : options.signal;
  const batchSize = config.batchSize / config.accumulate;
  const onBatch = (done: number, count: number) => onEvent?.({ type: "validation", done, count });
  let held: Metrics;
  try {
    const { precision } = config;
    held = await evaluate(model, data.validation!, {
      ...{ batchSize, precision, onBatch, signal, ranks },
    });
  } catch (error) {
    if (signal?.aborted) return "stopped";
    throw error;
  }
  // The last update of an epoch is the one that no training loss has seen.
  if (Number.isFinite(held.loss)) return held;
  throw new Diverged("validation loss", progress.step, config);
}
