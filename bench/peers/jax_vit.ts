/**
 * A training step of a preset in jax-js: one for each line of input, its milliseconds as answer.
 *
 *     deno run bench/peers/jax_vit.ts wasm
 *
 * The first line of input is a {@linkcode Request}, and the first answer "ready" with the version of
 * jax-js, or why there will be no others. Images are random; augmentation is not part of the step.
 *
 * Settings, those that jax-js's README and examples have for speed: forward pass, gradients and
 * AdamW are one `jit`; weights and moments are moved into it; all is waited for with the
 * asynchronous calls, which is what lets its wasm run on all processors (`dataSync` and `js` keep to
 * one); the loss is all that is read.
 */
import {
  blockUntilReady,
  defaultDevice,
  type Device,
  init,
  numpy as np,
  random,
} from "@jax-js/jax";
import { TextLineStream } from "@std/streams/text-line-stream";
import type { RunConfig } from "../../lib/config/run.ts";
import { compileStep, correctedRate, notBuilt, type State, type Weights } from "./jax_model.ts";

/** Numbers with the shape of the array that they are for. */
export interface Values {
  shape: readonly number[];
  data: Float32Array<ArrayBuffer>;
}

/** A batch in host memory: images `[batch, size, size, channels]`, labels `[batch]`. */
export interface HostBatch {
  images: Values;
  labels: Int32Array<ArrayBuffer>;
}

/**
 * Training steps on one batch that lies on the device.
 * @param initial weights by their plain names
 * @returns does a step, waits for all of it and gives its mean loss
 * @throws {Error} when jax-js has no such device here
 */
export async function trainingSteps(
  config: RunConfig,
  device: Device,
  initial: ReadonlyMap<string, Values>,
  batch: HostBatch,
): Promise<() => Promise<number>> {
  if (!(await init(device)).includes(device)) throw new Error("it finds no adapter");
  defaultDevice(device);
  const array = ({ shape, data }: Values) => np.array(data, { shape: [...shape] });
  const each = (make: (values: Values) => np.Array): Weights =>
    Object.fromEntries([...initial].map(([name, values]) => [name, make(values)]));
  const zeros = ({ shape }: Values) => np.zeros([...shape]);
  let state: State = { weights: each(array), m: each(zeros), v: each(zeros) };
  const images = array(batch.images);
  const labels = np.array(batch.labels, { dtype: np.int32 });
  const compiled = compileStep(config);
  let count = 0;
  return async () => {
    const rate = np.array(correctedRate(config, ++count), { dtype: np.float32 });
    const result = compiled(state, images.ref, labels.ref, rate, random.key(count));
    state = result.state;
    // On wasm a value is there before those that were computed after it; on webgpu they are in a
    // queue, at whose end it is read, and a wait for each array would cost a submission each.
    if (device === "wasm") await blockUntilReady(state);
    const [loss] = await result.loss.data();
    if (!(loss! > 0 && loss! < Infinity)) throw new Error(`its loss is ${loss}`);
    return loss!;
  };
}

/** Weights as training from random numbers has them, nearly enough for a measurement. */
function randomWeights(shapes: Record<string, number[]>): Map<string, Values> {
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const isScale = name.endsWith("gamma");
      const isRandom = shape.length > 1;
      const data = randomData(shape, isScale ? 1 : 0, isRandom ? 0.02 : 0);
      return [name, { shape, data }];
    }),
  );
}

/** Evenly spread numbers of a mean and a deviation. */
function randomData(shape: readonly number[], mean: number, deviation: number) {
  const size = shape.reduce((a, b) => a * b, 1);
  const width = deviation * Math.sqrt(12);
  return Float32Array.from({ length: size }, () => mean + width * (Math.random() - 0.5));
}

function randomBatch({ batchSize, imageSize, channels, numClasses }: RunConfig): HostBatch {
  const shape = [batchSize, imageSize, imageSize, channels];
  return {
    images: { shape, data: randomData(shape, 0, 1) },
    labels: Int32Array.from({ length: batchSize }, () => Math.floor(Math.random() * numClasses)),
  };
}

/** The first line of input: a configuration, and the shapes of its weights by their plain names. */
export interface Request {
  config: RunConfig;
  shapes: Record<string, number[]>;
}

async function serve(device: Device): Promise<void> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream())[Symbol.asyncIterator]();
  const { config, shapes } = JSON.parse((await lines.next()).value!) as Request;
  const reason = notBuilt(config);
  if (reason !== undefined) return console.log(reason);
  const step = await trainingSteps(config, device, randomWeights(shapes), randomBatch(config));
  // Compiles, so that what cannot be compiled is told before any measurement.
  await step();
  const [, version] = /@(\d+(?:\.\d+)+)/.exec(import.meta.resolve("@jax-js/jax")) ?? [];
  console.log(`ready ${version}`);
  for await (const _ of { [Symbol.asyncIterator]: () => lines }) {
    const start = performance.now();
    await step();
    console.log(performance.now() - start);
  }
}

if (import.meta.main) {
  await serve(Deno.args[0] as Device).catch((error: unknown) => {
    console.log(String((error as Error).message ?? error).split("\n")[0]);
    Deno.exit(1);
  });
  Deno.exit(0);
}
