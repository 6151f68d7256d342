/**
 * The two sides of the comparison: the plain tfjs step and ours, on the same data, from the same
 * weights, with the same transforms.
 *
 * On webgpu each side has a tfjs backend of its own on the one device, so that neither profits from
 * the other's pool of buffers, and memory can be told apart.
 */
import { augmentationsOf } from "../lib/augment/list.ts";
import { drawTransforms } from "../lib/augment/transforms.ts";
import { currentGpu, type Gpu } from "../lib/backend/device.ts";
import { flushBackend } from "../lib/backend/tfjs_internals.ts";
import { modelConfigOf, type RunConfig } from "../lib/config/run.ts";
import { channelStatistics, type ImageDataset } from "../lib/data/dataset.ts";
import { createViTClassifier, namedVariables } from "../lib/models/vit_classifier.ts";
import { AdamW } from "../lib/optim/adamw.ts";
import { tf, WebGPUBackend } from "../lib/tfjs.ts";
import type { Preprocessing } from "../lib/data/preprocessing.ts";
import { DeviceSplit, inOrder } from "../lib/train/batches.ts";
import { DeviceMetrics } from "../lib/train/metrics.ts";
import { stepGradients, stepValues, TrainingStep } from "../lib/train/step.ts";
import { tensorsOf } from "../lib/capture/repeated.ts";
import { Baseline, type HostBatch, type InitialWeight, unportedFields } from "./baseline.ts";
import { Meter, useMeter } from "./instrument.ts";

/** One way to do a training step. */
export interface Side {
  readonly name: "tfjs" | "ours";
  /** Its tfjs backend. */
  readonly backendName: string;
  readonly meter: Meter;
  /** Does one training step; the device may still be at work when it returns. */
  step(): Promise<void>;
  /** The same step without capture, for a profiler. */
  plainStep(): void;
  /** Mean loss of the steps since the last call; needed once in {@linkcode MOST_STEPS} steps. */
  loss(): Promise<number>;
  dispose(): void;
}

/** Both sides, and what the report says of the model. */
export interface Sides {
  /** Null where the port does not know what is trained. */
  tfjs: Side | null;
  ours: Side;
  parameters: number;
  /** Bytes of the stored images of one batch. */
  imageBytes: number;
}

/** Steps of one side between two reads of its loss. */
export const MOST_STEPS = 64;

const BASELINE_BACKEND = "webgpu-baseline";

/** Makes a side's backend the current one and sends WebGPU calls to its meter. */
export async function activate(side: Pick<Side, "backendName" | "meter">): Promise<void> {
  await tf.setBackend(side.backendName);
  useMeter(side.meter);
}

/** Our side alone, on the current backend, which has no meter. */
export function createOurSide(config: RunConfig, dataset: ImageDataset): Side {
  const { height, width, channels } = dataset;
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  return createOurs(model, {
    ...{ config, dataset, batches: [...inOrder(dataset.train.count, config.batchSize)] },
    preprocessing: { height, width, channels, ...channelStatistics(dataset.train, channels) },
  }, { backendName: tf.getBackend(), meter: new Meter() });
}

/** Both sides on the current backend; on webgpu the baseline gets another on the same device. */
export async function createSides(config: RunConfig, dataset: ImageDataset): Promise<Sides> {
  const { height, width, channels } = dataset;
  const preprocessing = { height, width, channels, ...channelStatistics(dataset.train, channels) };
  const ourBackend = tf.getBackend();
  const gpu = currentGpu();
  const shared = {
    config,
    dataset,
    preprocessing,
    batches: [...inOrder(dataset.train.count, config.batchSize)],
  };
  const ours = { backendName: ourBackend, meter: meterOf(ourBackend) };
  await activate(ours);
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const initial = await valuesOf(namedVariables(model));
  const oursSide = createOurs(model, shared, ours);

  let tfjsSide: Side | null = null;
  if (unportedFields(config).length === 0) {
    const tfjsName = gpu ? registerStockBackend(gpu) : ourBackend;
    const tfjs = { backendName: tfjsName, meter: gpu ? meterOf(tfjsName) : ours.meter };
    await activate(tfjs);
    tfjsSide = createBaseline(initial, shared, tfjs);
  }
  useMeter(null);
  return {
    ours: oursSide,
    tfjs: tfjsSide,
    parameters: model.countParams(),
    imageBytes: config.batchSize * height * width * channels,
  };
}

interface Shared {
  config: RunConfig;
  dataset: ImageDataset;
  preprocessing: Preprocessing;
  batches: Int32Array[];
}

function createOurs(
  model: tf.LayersModel,
  { config, dataset, preprocessing, batches }: Shared,
  side: Pick<Side, "backendName" | "meter">,
): Side {
  const variables = [...namedVariables(model).values()];
  const optimizer = new AdamW(config);
  const train = new DeviceSplit(dataset.train, preprocessing);
  const metrics = new DeviceMetrics(MOST_STEPS);
  const parts = { config, model, variables, optimizer, train };
  const captured = new TrainingStep(parts, metrics);
  let step = 0;
  return {
    name: "ours",
    ...side,
    async step() {
      await captured.run(batches[step % batches.length]!, step);
      step++;
    },
    plainStep() {
      tf.tidy(() => {
        const inputs = tensorsOf(stepValues(parts, batches[step % batches.length]!, step));
        const { stats, gradients } = stepGradients(parts, inputs);
        optimizer.update(gradients, inputs.scalars as tf.Tensor1D);
        metrics.add(tf.tensor1d([metrics.nextRow], "int32"), stats);
      });
      optimizer.advance();
      metrics.advance();
      step++;
    },
    async loss() {
      const sums = await metrics.take();
      return sums.reduce((sum, { loss, images }) => sum + loss / images, 0) / sums.length;
    },
    dispose() {
      captured.dispose();
      train.dispose();
      metrics.dispose();
      optimizer.dispose();
      model.dispose();
    },
  };
}

function createBaseline(
  initial: ReadonlyMap<string, InitialWeight>,
  { config, dataset, preprocessing, batches }: Shared,
  side: Pick<Side, "backendName" | "meter">,
): Side {
  const baseline = new Baseline(config, preprocessing, initial);
  const losses: tf.Scalar[] = [];
  let step = 0;
  const plainStep = () => {
    const records = batches[step % batches.length]!;
    losses.push(baseline.step(hostBatch(records, dataset, config, step)));
    step++;
  };
  return {
    name: "tfjs",
    ...side,
    step: () => Promise.resolve(plainStep()),
    plainStep,
    async loss() {
      const values: number[] = [];
      for (const loss of losses) values.push((await loss.data<"float32">())[0]!);
      tf.dispose(losses.splice(0));
      return values.reduce((a, b) => a + b) / values.length;
    },
    dispose: () => baseline.dispose(),
  };
}

/** The images of some records, and the transforms that our side draws for the same step. */
export function hostBatch(
  records: Int32Array,
  dataset: ImageDataset,
  config: RunConfig,
  step: number,
): HostBatch {
  const stride = dataset.height * dataset.width * dataset.channels;
  const images = new Uint8Array(records.length * stride);
  records.forEach((record, i) => {
    images.set(dataset.train.images.subarray(record * stride, (record + 1) * stride), i * stride);
  });
  const batch = records.length;
  return {
    images,
    labels: Int32Array.from(records, (record) => dataset.train.labels[record]!),
    transforms: drawTransforms({
      ...{ batch, step, size: config.imageSize, seed: config.seed },
      augmentations: augmentationsOf(config),
    }),
  };
}

/** Weights, read from the device. */
export async function valuesOf(
  variables: ReadonlyMap<string, tf.Variable>,
): Promise<Map<string, InitialWeight>> {
  const values = new Map<string, InitialWeight>();
  for (const [name, variable] of variables) {
    // A copy, because a host backend hands out its own memory.
    const data = (await variable.data<"float32">()).slice();
    values.set(name, { shape: variable.shape, data });
  }
  return values;
}

/** tfjs's own backend once more, on our device. */
function registerStockBackend(gpu: Gpu): string {
  if (!tf.findBackendFactory(BASELINE_BACKEND)) {
    tf.registerBackend(BASELINE_BACKEND, () => new WebGPUBackend(gpu.device, gpu.info), 0);
    tf.copyRegisteredKernels("webgpu", BASELINE_BACKEND);
  }
  return BASELINE_BACKEND;
}

/** A meter that can ask the backend preprocessing many bytes its tensors hold. */
function meterOf(backendName: string): Meter {
  let backend: WebGPUBackend | null = null;
  return new Meter(() => {
    backend ??= tf.findBackend(backendName) as WebGPUBackend;
    return (backend.memory() as { numBytesInGPU?: number }).numBytesInGPU ?? 0;
  });
}

/** Submits what is encoded; the device may still be at work when it returns. */
export function flush(): void {
  if (tf.backend() instanceof WebGPUBackend) flushBackend();
}

/**
 * Waits until the device has done what was submitted.
 *
 * Deno looks only every 10 ms whether it has. A software adapter's `submit()` first waits for the
 * submission before it, so there an empty one tells the end to the microsecond.
 */
export async function deviceDone(isSoftware: boolean): Promise<void> {
  const backend = tf.backend();
  if (!(backend instanceof WebGPUBackend)) return;
  const { device } = backend;
  if (isSoftware) device.queue.submit([device.createCommandEncoder().finish()]);
  else await device.queue.onSubmittedWorkDone();
}
