/** What a classifier looks at. */
import { MultiHeadAttention } from "../layers/multi_head_attention.ts";
import { tf } from "../tfjs.ts";

/**
 * Attention rollout (Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020): how much
 * of what pooling takes comes from each patch, where attention, averaged over the heads, and the
 * residual beside it count the same in every block.
 *
 * From the class token where there is one, else the mean over all tokens, which pooling takes all.
 *
 * @param images `[batch, size, size, channels]`, normalized
 * @param hasClassToken whether a learned token stands before those of the patches
 * @returns `[batch, side * side]`, row by row of the image; each image's shares add up to 1
 */
export function attentionRollout(
  model: tf.LayersModel,
  images: tf.Tensor4D,
  hasClassToken: boolean,
): tf.Tensor2D {
  return tf.tidy(() => {
    const layers = model.layers.filter((layer) => layer instanceof MultiHeadAttention);
    const inputs = layers.map((layer) => (layer.input as tf.SymbolicTensor[])[0]!);
    const seen = tf.model({ inputs: model.inputs, outputs: inputs })
      .apply(images, { training: false }) as tf.Tensor3D | tf.Tensor3D[];
    let rollout: tf.Tensor3D | undefined;
    for (const [i, x] of [seen].flat().entries()) {
      // b h n n -> b n n
      const attended = layers[i]!.attentionWeights(x).mean(1);
      const joint = attended.add(tf.eye(x.shape[1])).div(2) as tf.Tensor3D;
      rollout = rollout ? tf.matMul(joint, rollout) : joint;
    }
    // b n n -> b n
    const taken = hasClassToken
      ? rollout!.slice([0, 0, 1], [-1, 1, -1]).squeeze<tf.Tensor2D>([1])
      : rollout!.mean<tf.Tensor2D>(1);
    return taken.div(taken.sum(1, true));
  });
}
