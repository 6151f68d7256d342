/** Attention on the wasm backend with all processors; see lib/simd. */
import { hostAllocate } from "../../backend/host.ts";
import type { Pool, Work } from "../../simd/pool.ts";
import { descriptionOf, whole } from "../../simd/product.ts";
import type { TensorInfo } from "../../tfjs.ts";
import { hostMaskKey } from "../dropout.ts";
import type { AttentionAttributes, AttentionGradInputs, AttentionInputs } from "./host.ts";

/** Forward: the result, and the signed weights (empty unless kept). */
export function simdAttention(
  pool: Pool,
  inputs: AttentionInputs,
  a: AttentionAttributes,
): TensorInfo[] {
  const { batch, tokens, numHeads, keyDim } = a;
  const attended = hostAllocate([batch, tokens, numHeads * keyDim]);
  const kept = hostAllocate(a.keeps ? [batch, numHeads, tokens, tokens] : [0]);
  const tensors = { ...inputs, attended, kept };
  pool.run("attentionTask", workOf(a, 1), [attentionWords(pool, tensors, a)]);
  return [attended, kept];
}

/** Backward: the gradients of query, key and value. */
export function simdAttentionGrad(
  pool: Pool,
  inputs: AttentionGradInputs,
  a: AttentionAttributes,
): TensorInfo[] {
  const shape = [a.batch, a.tokens, a.numHeads * a.keyDim];
  const gradients = [hostAllocate(shape), hostAllocate(shape), hostAllocate(shape)];
  const tensors = { ...inputs, attended: inputs.upstream };
  pool.run("attentionGradTask", workOf(a, 2), [attentionWords(pool, tensors, a, gradients)]);
  return gradients;
}

/** Bytes of what a task keeps before its matrices; HEAD of `assembly/attention.ts`. */
const HEAD = 320;

/** A head a task, with so many matrices `[tokens, tokens]` of its own. */
function workOf({ batch, tokens, numHeads, keyDim }: AttentionAttributes, matrices: number): Work {
  const pitch = 4 * Math.ceil(tokens / 4);
  const packed = 576 * (4 + 8 * Math.ceil(Math.max(tokens, keyDim) / 8));
  return {
    tasks: batch * numHeads,
    scratch: HEAD + 4 * (matrices * tokens * pitch + packed),
    cost: batch * numHeads * tokens * tokens * keyDim,
  };
}

function attentionWords(
  pool: Pool,
  t: AttentionInputs & { attended: TensorInfo; kept: TensorInfo },
  a: AttentionAttributes,
  gradients: TensorInfo[] = [],
): Int32Array {
  const key = t.stepKey && hostMaskKey(t.stepKey, a.stream, a.numHeads * a.tokens ** 2);
  return descriptionOf([
    ...whole(...[t.query, t.key, t.value, t.attended].map((tensor) => pool.addressOf(tensor))),
    ...whole(a.keeps ? pool.addressOf(t.kept) : 0),
    ...whole(...[0, 1, 2].map((i) => pool.addressOf(gradients[i]))),
    ...whole(a.tokens, a.numHeads, a.keyDim, Number(a.maskDiagonal)),
    ...whole(
      Number(key !== undefined),
      key?.word0 ?? 0,
      key?.word1 ?? 0,
      key?.first ?? 0,
      a.threshold,
    ),
    ["f", key ? a.scale : 1],
  ]);
}
