/**
 * Which tensor of a diverged run left the range of float32 first.
 *
 * The loss shows it one step late, and by then every weight is NaN. But all of a run follows from
 * its counters, so its last steps can be repeated from a good state and looked at tensor by tensor,
 * and a run that goes well pays nothing.
 */
import { tf } from "../tfjs.ts";
import type { RunConfig } from "../config/run.ts";
import { type DeviceSplit, epochOrder } from "./batches.ts";
import { trainStep } from "./step.ts";

/** A run put back to a good state. */
export interface Rewound {
  config: RunConfig;
  model: tf.LayersModel;
  /** By plain name, in the order of the layers. */
  variables: ReadonlyMap<string, tf.Variable>;
  optimizer: tf.Optimizer;
  train: DeviceSplit;
  /** Steps done in that state. */
  step: number;
  signal?: AbortSignal;
}

/**
 * Repeats a run's steps up to `lastStep` and names the first tensor that is NaN or infinite in the
 * last two of them, such as `the gradient of norm.gamma at step 7`.
 * @returns undefined if there is none, or the signal aborts.
 */
export async function findNonFinite(run: Rewound, lastStep: number): Promise<string | undefined> {
  for (let step = run.step; step < lastStep; step++) {
    if (run.signal?.aborted) return undefined;
    if (step < lastStep - 2) {
      tf.dispose(repeatStep(run, step, run.model, run.optimizer));
      await new Promise((resolve) => setTimeout(resolve, 0));
      continue;
    }
    const found = await watchStep(run, step);
    if (found) return found;
  }
  const weight = await firstBad([...run.variables]);
  return weight && `the weight ${weight} after step ${lastStep}`;
}

async function watchStep(run: Rewound, step: number): Promise<string | undefined> {
  const weight = await firstBad([...run.variables]);
  if (weight) return `the weight ${weight} after step ${step}`;
  const gradients = new Map<string, tf.Tensor>();
  const outputs: [string, tf.Tensor][] = [];
  // Stands between the step and the optimizer, and keeps what passes.
  const witness = {
    applyGradients: (grads: tf.NamedTensorMap) => {
      for (const [name, gradient] of Object.entries(grads)) {
        gradients.set(name, tf.keep(gradient.clone()));
      }
      run.optimizer.applyGradients(grads);
    },
  } as unknown as tf.Optimizer;
  const stopWatching = watchLayers(run.model, outputs);
  let stats: tf.Tensor;
  try {
    stats = repeatStep(run, step, run.model, witness);
  } finally {
    stopWatching();
  }
  try {
    const at = `at step ${step + 1}`;
    const output = await firstBad(outputs);
    if (output) return `the output of ${output} ${at}`;
    if (await firstBad([["loss", stats]])) return `the loss ${at}`;
    // The nearest to the loss is the first that is computed.
    const backward = [...run.variables].reverse().flatMap(([plain, { name }]) =>
      gradients.has(name) ? [[plain, gradients.get(name)!] as [string, tf.Tensor]] : []
    );
    const gradient = await firstBad(backward);
    return gradient && `the gradient of ${gradient} ${at}`;
  } finally {
    tf.dispose([stats, ...gradients.values(), ...outputs.map(([, tensor]) => tensor)]);
  }
}

/** One step of the loop in fit.ts. */
function repeatStep(
  { config, variables, train }: Rewound,
  step: number,
  model: tf.LayersModel,
  optimizer: tf.Optimizer,
): tf.Tensor2D {
  const perEpoch = Math.ceil(train.count / config.batchSize);
  const order = epochOrder(train.count, config.seed, Math.floor(step / perEpoch));
  const start = (step % perEpoch) * config.batchSize;
  const records = order.subarray(start, start + config.batchSize);
  return tf.tidy(() => {
    const batch = train.trainingBatch(records, config, step);
    const stepKey = tf.tensor1d([config.seed, step], "int32");
    return trainStep(model, [...variables.values()], optimizer, batch, stepKey);
  });
}

/** Keeps what each layer returns until the function that it gives is called. */
function watchLayers(model: tf.LayersModel, outputs: [string, tf.Tensor][]): () => void {
  const layers = model.layers.filter((layer) => layer.getClassName() !== "InputLayer");
  for (const layer of layers) {
    const call = layer.call.bind(layer);
    layer.call = (inputs, kwargs) => {
      const result = call(inputs, kwargs);
      for (const tensor of Array.isArray(result) ? result : [result]) {
        outputs.push([layer.name, tf.keep(tensor.clone())]);
      }
      return result;
    };
  }
  return () => {
    // What is the instance's own hides the class's method no longer.
    for (const layer of layers) delete (layer as Partial<tf.layers.Layer>).call;
  };
}

/** The name of the first tensor that holds NaN or an infinity. */
async function firstBad(named: [string, tf.Tensor][]): Promise<string | undefined> {
  for (const [name, tensor] of named) {
    if (tensor.dtype !== "float32") continue;
    const data = await tensor.data();
    for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return name;
  }
  return undefined;
}
