/**
 * Attention on wasm and cpu, one head of one image after the other, so that its weights
 * `[tokens, tokens]` stay in the processor's cache.
 *
 * The products go through tfjs's matMul kernel with a batch of 1 and no transposition, the only
 * form for which the wasm backend uses its SIMD code (every other form is a scalar loop). It packs
 * the right operand slowly and once per tensor, so that operand is always a new tensor and never
 * one of `[tokens, tokens]`; transposed left operands are written by our own loops.
 *
 * Weights are held signed: -w means that dropout dropped the weight w. So one number carries the
 * softmax and the mask, and neither is computed twice when the weights are kept.
 */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import { randomBits, type StreamKey } from "../../random.ts";
import type { TensorInfo } from "../../tfjs.ts";
import { type DropoutNumbers, hostMaskKey } from "../dropout.ts";
import { hostProduct } from "../matmul/host.ts";
import { dispose } from "../register.ts";

/** The numbers of one attention. */
export interface AttentionAttributes extends DropoutNumbers {
  batch: number;
  tokens: number;
  numHeads: number;
  keyDim: number;
  stream: number;
  /** Whether no token attends to itself. */
  maskDiagonal: boolean;
  /** Whether host backends keep the weights for the backward pass. */
  keeps: boolean;
}

export interface AttentionInputs {
  query: TensorInfo;
  key: TensorInfo;
  value: TensorInfo;
  /** Absent when nothing is dropped. */
  stepKey?: TensorInfo;
}

export interface AttentionGradInputs extends AttentionInputs {
  /** The forward pass's result. */
  attended: TensorInfo;
  /** Its second result: on webgpu the statistics of the rows, on host backends the weights. */
  kept: TensorInfo;
  /** The gradient of the result. */
  upstream: TensorInfo;
}

/** Forward: the result, and the signed weights (empty unless kept). */
export function hostAttention(inputs: AttentionInputs, a: AttentionAttributes): TensorInfo[] {
  const { batch, tokens, numHeads, keyDim } = a;
  const attended = hostAllocate([batch, tokens, numHeads * keyDim]);
  const kept = hostAllocate(a.keeps ? [batch, numHeads, tokens, tokens] : [0]);
  for (let head = 0; head < batch * numHeads; head++) {
    const weights = signedWeights(inputs, a, head);
    const values = gather(inputs.value, a, head);
    const floats = hostFloats(weights);
    if (a.keeps) hostFloats(kept).set(floats, head * tokens * tokens);
    if (inputs.stepKey) {
      const half = a.scale / 2;
      for (let i = 0; i < floats.length; i++) {
        const weight = floats[i]!;
        floats[i] = (weight + Math.abs(weight)) * half;
      }
    }
    const product = hostProduct(weights, values);
    scatter(product, attended, a, head, 1);
    dispose(weights, values, product);
  }
  return [attended, kept];
}

/** Backward: the gradients of query, key and value. */
export function hostAttentionGrad(
  inputs: AttentionGradInputs,
  a: AttentionAttributes,
): TensorInfo[] {
  const { batch, tokens, numHeads, keyDim } = a;
  const shape = [batch, tokens, numHeads * keyDim];
  const [dQuery, dKey, dValue] = [hostAllocate(shape), hostAllocate(shape), hostAllocate(shape)];
  const dScoresT = hostAllocate([1, tokens, tokens]);
  const droppedT = hostAllocate([1, tokens, tokens]);
  const scale = 1 / Math.sqrt(keyDim);
  const size = tokens * tokens;
  for (let head = 0; head < batch * numHeads; head++) {
    const upstream = gather(inputs.upstream, a, head);
    const valuesT = gatherTransposed(inputs.value, a, head);
    const dScores = hostProduct(upstream, valuesT);
    const again = a.keeps ? null : signedWeights(inputs, a, head);
    const weights = again
      ? hostFloats(again)
      : hostFloats(inputs.kept).subarray(head * size, (head + 1) * size);
    scoreGradients(
      weights,
      tokens,
      a.scale / 2,
      hostFloats(dScores),
      hostFloats(dScoresT),
      hostFloats(droppedT),
    );
    if (again) dispose(again);
    const keys = gather(inputs.key, a, head);
    const queries = gather(inputs.query, a, head);
    const products = [
      hostProduct(dScores, keys),
      hostProduct(dScoresT, queries),
      hostProduct(droppedT, upstream),
    ] as const;
    scatter(products[0], dQuery, a, head, scale);
    scatter(products[1], dKey, a, head, scale);
    scatter(products[2], dValue, a, head, 1);
    dispose(upstream, valuesT, dScores, keys, queries, ...products);
  }
  dispose(dScoresT, droppedT);
  return [dQuery, dKey, dValue];
}

/**
 * From the signed weights w and the gradient of the dropped weights (in `dScores`): the gradient of
 * the scores in its place, and transposed copies of it and of the dropped weights.
 * Free of branches, which dropout would make unpredictable: (w + |w|) / 2 is w where it was kept.
 */
function scoreGradients(
  weights: Float32Array,
  tokens: number,
  half: number,
  dScores: Float32Array,
  dScoresT: Float32Array,
  droppedT: Float32Array,
): void {
  for (let i = 0; i < tokens; i++) {
    const row = i * tokens;
    let delta = 0;
    for (let j = 0; j < tokens; j++) {
      const weight = weights[row + j]!;
      const used = (weight + Math.abs(weight)) * half;
      droppedT[j * tokens + i] = used;
      const product = used * dScores[row + j]!;
      dScores[row + j] = product;
      delta += product;
    }
    for (let j = 0; j < tokens; j++) {
      const gradient = dScores[row + j]! - Math.abs(weights[row + j]!) * delta;
      dScores[row + j] = gradient;
      dScoresT[j * tokens + i] = gradient;
    }
  }
}

/** The signed weights `[1, tokens, tokens]` of one head, in a new tensor. */
function signedWeights(inputs: AttentionInputs, a: AttentionAttributes, head: number): TensorInfo {
  const queries = gather(inputs.query, a, head, Math.LOG2E / Math.sqrt(a.keyDim));
  const keysT = gatherTransposed(inputs.key, a, head);
  const scores = hostProduct(queries, keysT);
  dispose(queries, keysT);
  const floats = hostFloats(scores);
  if (a.maskDiagonal) {
    for (let i = 0; i < floats.length; i += a.tokens + 1) floats[i] = -Infinity;
  }
  softmaxRows(floats, a.tokens);
  if (inputs.stepKey) {
    const key = hostMaskKey(inputs.stepKey, a.stream, a.numHeads * a.tokens ** 2);
    markDropped(floats, key, head * a.tokens * a.tokens, a.threshold);
  }
  return scores;
}

function markDropped(weights: Float32Array, key: StreamKey, first: number, threshold: number) {
  for (let i = 0; i < weights.length; i++) {
    if (randomBits(key, first + i) < threshold) weights[i] = -weights[i]!;
  }
}

/** In place: 2^score of every entry over the sum of its row. */
function softmaxRows(scores: Float32Array, tokens: number): void {
  for (let row = 0; row < scores.length; row += tokens) {
    const end = row + tokens;
    let largest = scores[row]!;
    for (let i = row + 1; i < end; i++) {
      const score = scores[i]!;
      // Written so that NaN, once met, stays.
      if (!(score <= largest)) largest = score;
    }
    let sum = 0;
    for (let i = row; i < end; i++) {
      const power = exp2(scores[i]! - largest);
      scores[i] = power;
      sum += power;
    }
    const scale = 1 / sum;
    for (let i = row; i < end; i++) scores[i] = scores[i]! * scale;
  }
}

/** 2^(-n/32) for exponents down to -126, where float32 loses its precision. */
const powers = Float64Array.from({ length: 126 * 32 + 1 }, (_, n) => 2 ** (-n / 32));

/**
 * 2^x for x <= 0 within 1e-7 of its value, several times faster than Math.exp; 0 below -126. The
 * table leaves a factor 2^(r/32) with |r| <= 1/2, for which three terms of its series suffice.
 */
function exp2(x: number): number {
  if (x < -126) return 0;
  const position = -32 * x;
  const index = (position + 0.5) | 0;
  const r = (index - position) * (Math.LN2 / 32);
  return powers[index]! * (1 + r * (1 + r * (0.5 + r * (1 / 6))));
}

/** Place of a head's rows within `[batch, tokens, heads * keyDim]`. */
function rowsOf({ tokens, numHeads, keyDim }: AttentionAttributes, head: number) {
  const stride = numHeads * keyDim;
  const image = Math.floor(head / numHeads);
  return { stride, start: image * tokens * stride + (head - image * numHeads) * keyDim };
}

/** One head's rows times `scale`, `[1, tokens, keyDim]`. */
function gather(from: TensorInfo, a: AttentionAttributes, head: number, scale = 1): TensorInfo {
  const { tokens, keyDim } = a;
  const output = hostAllocate([1, tokens, keyDim]);
  const source = hostFloats(from);
  const target = hostFloats(output);
  const { start, stride } = rowsOf(a, head);
  for (let i = 0, at = 0; i < tokens; i++) {
    const row = start + i * stride;
    for (let d = 0; d < keyDim; d++) target[at++] = source[row + d]! * scale;
  }
  return output;
}

/** One head's rows as columns, `[1, keyDim, tokens]`. */
function gatherTransposed(from: TensorInfo, a: AttentionAttributes, head: number): TensorInfo {
  const { tokens, keyDim } = a;
  const output = hostAllocate([1, keyDim, tokens]);
  const source = hostFloats(from);
  const target = hostFloats(output);
  const { start, stride } = rowsOf(a, head);
  for (let d = 0, at = 0; d < keyDim; d++) {
    for (let i = 0; i < tokens; i++) target[at++] = source[start + i * stride + d]!;
  }
  return output;
}

/** Writes `[1, tokens, keyDim]` times `scale` to the head's rows. */
function scatter(
  from: TensorInfo,
  to: TensorInfo,
  a: AttentionAttributes,
  head: number,
  scale: number,
): void {
  const source = hostFloats(from);
  const target = hostFloats(to);
  const { start, stride } = rowsOf(a, head);
  for (let i = 0, at = 0; i < a.tokens; i++) {
    const row = start + i * stride;
    for (let d = 0; d < a.keyDim; d++) target[row + d] = source[at++]! * scale;
  }
}
