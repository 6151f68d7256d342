/** Stochastic depth beside reference values, by the model's own layers and the masks that they draw. */
import { dropThreshold, randomBits, streamKey, streamOfName } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import type { FloatTensor } from "../../lib/checkpoint/training_state.ts";
import { assignWeights } from "../../lib/train/weights.ts";

/** The rate of the reference values, in every block. */
const RATE = 0.25;

/** Most steps that are looked through; three images and four branches take some thousands. */
const MOST_STEPS = 2 ** 20;

/**
 * The logits in training with both branches of every block left out for the same images. The layers
 * draw their masks from (seed, step), so the step is taken at which they draw these.
 *
 * @param images `[batch, imageSize, imageSize, channels]`
 * @param keep `[batch]`, 1 for the images whose branches are kept, else 0
 * @returns undefined when no step has such masks
 */
export function logitsWithDropPath(
  model: tf.LayersModel,
  weights: ReadonlyMap<string, FloatTensor>,
  images: tf.Tensor,
  keep: ArrayLike<number>,
): tf.Tensor2D | undefined {
  const { dropping, names } = withRate(model);
  try {
    const step = stepOf(names, keep);
    if (step === undefined) return undefined;
    assignWeights(dropping, weights, "of the reference values");
    return tf.tidy(() => {
      const stepKey = tf.tensor1d([0, step], "int32");
      return dropping.apply(images, { training: true, stepKey }) as tf.Tensor2D;
    });
  } finally {
    dropping.dispose();
  }
}

/**
 * The model with that rate in every block, as its stored form has it, where a run's configuration
 * would have it in the last alone; and the names of the layers.
 */
function withRate(model: tf.LayersModel): { dropping: tf.LayersModel; names: string[] } {
  const names: string[] = [];
  const config = model.getConfig() as { layers: { name: string; config: object }[] };
  const layers = config.layers.map((layer) => {
    if (!/^blocks\.\d+\.(attention|mlp)$/.test(layer.name)) return layer;
    names.push(layer.name);
    return { ...layer, config: { ...layer.config, dropPathRate: RATE } };
  });
  const changed = { ...config, layers } as unknown as tf.serialization.ConfigDict;
  const modelClass = model.constructor as tf.serialization.SerializableConstructor<tf.LayersModel>;
  return { dropping: modelClass.fromConfig(modelClass, changed), names };
}

/** The step at which each layer keeps those images and leaves out the others. */
function stepOf(names: readonly string[], keep: ArrayLike<number>): number | undefined {
  const streams = names.map((name) => streamOfName(`${name}/path`));
  const threshold = dropThreshold(RATE);
  for (let step = 0; step < MOST_STEPS; step++) {
    const isSuch = streams.every((stream) => {
      const key = streamKey(0, stream, step);
      for (let image = 0; image < keep.length; image++) {
        if (randomBits(key, image) < threshold === (keep[image] === 1)) return false;
      }
      return true;
    });
    if (isSuch) return step;
  }
  return undefined;
}
