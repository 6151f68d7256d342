import { tf } from "../tfjs.ts";
import { softmaxCrossEntropy } from "../kernels/softmax_cross_entropy.ts";
import type { Batch } from "./batches.ts";

/**
 * One training step: forward, backward, update in place.
 *
 * @param batch model input and labels; stays the caller's
 * @param stepKey int32 `[2]`, (seed, step): keys the dropout masks
 * @returns float32 `[batch, 3]`, loss, top-1 hit and top-5 hit of each image before the update
 */
export function trainStep(
  model: tf.LayersModel,
  variables: tf.Variable[],
  optimizer: tf.Optimizer,
  batch: Batch,
  stepKey: tf.Tensor1D,
): tf.Tensor2D {
  return tf.tidy(() => {
    let stats: tf.Tensor2D | undefined;
    const { grads } = tf.variableGrads(() => {
      const logits = model.apply(batch.images, { training: true, stepKey }) as tf.Tensor2D;
      const result = softmaxCrossEntropy(logits, batch.labels);
      stats = tf.keep(result.stats);
      return result.loss;
    }, variables);
    optimizer.applyGradients(grads);
    // Kept through the inner tidy of variableGrads; a clone is what this tidy hands on.
    const result = stats!.clone();
    stats!.dispose();
    return result;
  });
}

/** The statistics of a batch in evaluation: float32 `[batch, 3]` as in {@linkcode trainStep}. */
export function evaluationStep(model: tf.LayersModel, batch: Batch): tf.Tensor2D {
  return tf.tidy(() => {
    const logits = model.apply(batch.images, { training: false }) as tf.Tensor2D;
    return softmaxCrossEntropy(logits, batch.labels).stats;
  });
}
