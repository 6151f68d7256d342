/**
 * The tensor of a diverged run that left the range of float32 first.
 *
 * The loss shows it one step late, and by then every weight is NaN. But all of a run follows from
 * its counters, so its last steps can be repeated from a good state and looked at tensor by tensor,
 * and a run that goes well pays nothing.
 */
import { tf } from "../tfjs.ts";
import { tensorsOf } from "../capture/repeated.ts";
import type { StepModel } from "../models/trained.ts";
import { batchAt, epochOrder, stepsPerEpoch } from "./batches.ts";
import { stepGradients, type StepParts, stepValues } from "./step.ts";

/** A run put back to a good state. */
export interface Rewound extends Omit<StepParts, "variables"> {
  /** By plain name, in the order of the layers. */
  variables: ReadonlyMap<string, tf.Variable>;
  /** Steps done in that state. */
  step: number;
  signal?: AbortSignal;
}

/** Tensors of a step that are looked at. */
interface Watched {
  stats: tf.Tensor;
  /** By the variables' names. */
  gradients: tf.NamedTensorMap;
  /** Results of the layers, in the order of the calls. */
  outputs: [string, tf.Tensor][];
}

/**
 * Repeats a run's steps up to `lastStep` and names the first tensor that is NaN or infinite in the
 * last two of them, such as `the gradient of norm.gamma at step 7`.
 * @returns undefined if there is none, or the signal aborts.
 */
export async function findNonFinite(run: Rewound, lastStep: number): Promise<string | undefined> {
  for (let step = run.step; step < lastStep; step++) {
    if (run.signal?.aborted) return undefined;
    const isWatched = step >= lastStep - 2;
    const weight = isWatched && await firstBad([...run.variables]);
    if (weight) return `the weight ${weight} after step ${step}`;
    const watched = await repeatStep(run, step, isWatched);
    const found = isWatched ? await badOf(run, watched, step + 1) : undefined;
    const { stats, gradients, outputs } = watched;
    tf.dispose([stats, ...Object.values(gradients), ...outputs.map(([, tensor]) => tensor)]);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const weight = await firstBad([...run.variables]);
  return weight && `the weight ${weight} after step ${lastStep}`;
}

/** One step as the run did it, with what passed between its parts. */
async function repeatStep(run: Rewound, step: number, isWatched: boolean): Promise<Watched> {
  const { config, model, optimizer, train } = run;
  const perEpoch = stepsPerEpoch(config.batchSize, train.count);
  const order = epochOrder(train.count, config.seed, Math.floor(step / perEpoch));
  const indices = batchAt(order, step % perEpoch, config.batchSize);
  await train.ready(indices);
  const parts = { ...run, variables: [...run.variables.values()] };
  const outputs: [string, tf.Tensor][] = [];
  const stopWatching = isWatched ? watchLayers(model, outputs) : () => {};
  try {
    const watched = tf.tidy(() => {
      const inputs = tensorsOf(stepValues(parts, indices, step));
      const { stats, gradients } = stepGradients(parts, inputs);
      optimizer.update(gradients, inputs.scalars as tf.Tensor1D);
      return { stats, gradients };
    });
    optimizer.advance();
    return { stats: watched.stats, gradients: watched.gradients, outputs };
  } finally {
    stopWatching();
  }
}

async function badOf(
  { variables }: Rewound,
  { stats, gradients, outputs }: Watched,
  step: number,
): Promise<string | undefined> {
  const output = await firstBad(outputs);
  if (output) return `the output of ${output} at step ${step}`;
  if (await firstBad([["loss", stats]])) return `the loss at step ${step}`;
  // The nearest to the loss is the first that is computed.
  const backward = [...variables].reverse().flatMap(([plain, { name }]) =>
    gradients[name] ? [[plain, gradients[name]] as [string, tf.Tensor]] : []
  );
  const gradient = await firstBad(backward);
  return gradient && `the gradient of ${gradient} at step ${step}`;
}

/** Keeps what each layer returns until the function that it gives is called. */
function watchLayers(model: StepModel, outputs: [string, tf.Tensor][]): () => void {
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
