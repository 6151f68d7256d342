/** Attention of tfjs's own operations, which holds the weights that the other forms never write. */
import { tf } from "../../tfjs.ts";
import { refuse, type Tensors } from "../register.ts";
import type { AttentionAttributes, AttentionInputs } from "./host.ts";

/** What the weights depend on besides query and key. */
export interface WeightOptions {
  /** Heads; they lie outermost within the last axis of query and key. */
  numHeads: number;
  /** Whether no token attends to itself. */
  maskDiagonal?: boolean;
}

/** Not infinity, which half-precision textures would make NaN of; its power is 0 all the same. */
const MASKED = -1e30;

/**
 * The weights by which a token takes in the others: softmax(query key^T / sqrt(keyDim)).
 *
 * @param query float32 `[batch, tokens, heads * keyDim]`, not yet scaled.
 * @param key As query.
 * @returns float32 `[batch, heads, tokens, tokens]`; rows sum to 1.
 */
export function attentionWeights(
  query: tf.Tensor,
  key: tf.Tensor,
  { numHeads, maskDiagonal }: WeightOptions,
): tf.Tensor4D {
  return tf.tidy(() => {
    const [, tokens, width] = query.shape as [number, number, number];
    const scale = 1 / Math.sqrt(width / numHeads);
    const products = tf.matMul(heads(query, numHeads), heads(key, numHeads), false, true);
    const scores = products.mul(scale);
    const masked = maskDiagonal ? scores.add(tf.eye(tokens).mul(MASKED)) : scores;
    return tf.softmax(masked) as tf.Tensor4D;
  });
}

/** b n (h k) -> b h n k */
function heads(x: tf.Tensor, numHeads: number): tf.Tensor4D {
  const [batch, tokens, width] = x.shape as [number, number, number];
  const split = x.reshape([batch, tokens, numHeads, width / numHeads]);
  return split.transpose([0, 2, 1, 3]) as tf.Tensor4D;
}

/** Forward: the result, and nothing for a backward pass. */
export function plainAttention(
  { query, key, value, stepKey }: Tensors<AttentionInputs>,
  a: AttentionAttributes,
): tf.Tensor[] {
  if (a.keeps || stepKey) refuse();
  const weights = attentionWeights(query, key, a);
  // b h n k -> b n (h k)
  const attended = tf.matMul(weights, heads(value, a.numHeads)).transpose([0, 2, 1, 3]);
  return [attended.reshape(query.shape), tf.zeros([0])];
}
