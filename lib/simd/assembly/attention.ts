/**
 * Attention, one head of one image a task, its weights `[tokens, tokens]` in the scratch memory.
 *
 * Weights are held signed: -w means that dropout dropped the weight w. Rows are filled up to a
 * multiple of four with weights of 0.
 */
import { describe, DESCRIPTION, Product, product } from "./product";
import {
  CONSTANTS, exp2, horizontalSum, indicesFrom, loadUpTo, randomBits, storeUpTo, writeConstants,
} from "./vectors";

/** One attention; tensors are `[batch, tokens, heads * dim]`. */
@unmanaged
export class Attention {
  query: i32;
  key: i32;
  value: i32;
  /** The result forward, its gradient backward. */
  attended: i32;
  /** Signed weights `[batch, heads, tokens, tokens]`, or 0. */
  kept: i32;
  dQuery: i32;
  dKey: i32;
  dValue: i32;
  tokens: i32;
  heads: i32;
  dim: i32;
  masksDiagonal: i32;
  drops: i32;
  word0: i32;
  word1: i32;
  /** The place in the stream that counts as the first weight. */
  firstBits: i32;
  threshold: i32;
  /** Of the weights that are kept; 1 where none is dropped. */
  keepScale: f32;
}

const LOG2E: f32 = 1.4426950408889634;

/** The signed weights of a head, in rows of `pitch` floats. */
function signedWeights(a: Attention, head: i32, place: usize, to: usize, pitch: i32, p: Product, scratch: usize): void {
  const tokens = a.tokens, stride = a.heads * a.dim * 4;
  const alpha = LOG2E / Mathf.sqrt(<f32>a.dim);
  describe(
    p, <usize>a.query + place, stride, 4, <usize>a.key + place, 4, stride,
    to, pitch * 4, tokens, tokens, a.dim, alpha,
  );
  product(p, 0, tokens, 0, tokens, scratch);
  const constants = changetype<usize>(p) + DESCRIPTION;
  writeConstants(constants);
  const word0 = i32x4.splat(a.word0), word1 = i32x4.splat(a.word1);
  const threshold = i32x4.splat(a.threshold), signBit = i32x4.splat(0x80000000);
  for (let i = 0; i < tokens; i++) {
    const row = to + <usize>(i * pitch) * 4, end = row + <usize>pitch * 4;
    for (let j = tokens; j < pitch; j++) store<f32>(row + <usize>j * 4, -Infinity);
    if (a.masksDiagonal) store<f32>(row + <usize>i * 4, -Infinity);
    let most = v128.load(row);
    // Not pmax: NaN, once met, stays.
    for (let at = row + 16; at < end; at += 16) most = f32x4.max(most, v128.load(at));
    const largest = f32x4.splat(max(
      max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
      max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
    ));
    let sum = f32x4.splat(0);
    for (let at = row; at < end; at += 16) {
      const power = exp2(f32x4.sub(v128.load(at), largest), constants);
      v128.store(at, power);
      sum = f32x4.add(sum, power);
    }
    const scale = f32x4.splat((<f32>1) / horizontalSum(sum));
    if (a.drops) {
      let index = indicesFrom(a.firstBits + (head * tokens + i) * tokens);
      for (let at = row; at < end; at += 16) {
        const dropped = i32x4.lt_u(randomBits(index, word0, word1, constants), threshold);
        v128.store(at, v128.xor(f32x4.mul(v128.load(at), scale), v128.and(dropped, signBit)));
        index = i32x4.add(index, i32x4.splat(4));
      }
    } else {
      for (let at = row; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), scale));
    }
  }
}

@inline function pitchOf(tokens: i32): i32 {
  return (tokens + 3) & ~3;
}

/** Bytes of the description of a product, at the start of the scratch memory, and of constants. */
const HEAD: usize = DESCRIPTION + CONSTANTS;

export function attentionTask(head: i32, scratch: usize, a: Attention): void {
  const tokens = a.tokens, dim = a.dim, stride = a.heads * dim * 4, pitch = pitchOf(tokens);
  const place = <usize>(head / a.heads * tokens * stride + head % a.heads * dim * 4);
  const p = changetype<Product>(scratch), weights = scratch + HEAD;
  const rest = weights + <usize>(tokens * pitch) * 4;
  signedWeights(a, head, place, weights, pitch, p, rest);
  const half = f32x4.splat(a.keepScale / 2);
  const kept = a.kept ? <usize>a.kept + <usize>(head * tokens * tokens) * 4 : 0;
  for (let i = 0; i < tokens; i++) {
    const row = weights + <usize>(i * pitch) * 4;
    for (let j = 0; j < tokens; j += 4) {
      const weight = v128.load(row + <usize>j * 4);
      if (kept) storeUpTo(kept + <usize>(i * tokens + j) * 4, weight, tokens - j);
      // (w + |w|) / 2 is w where it was kept.
      if (a.drops) v128.store(row + <usize>j * 4, f32x4.mul(f32x4.add(weight, f32x4.abs(weight)), half));
    }
  }
  describe(
    p, weights, pitch * 4, 4, <usize>a.value + place, stride, 4,
    <usize>a.attended + place, stride, tokens, dim, tokens, 1,
  );
  product(p, 0, tokens, 0, dim, rest);
}

export function attentionGradTask(head: i32, scratch: usize, a: Attention): void {
  const tokens = a.tokens, dim = a.dim, stride = a.heads * dim * 4, pitch = pitchOf(tokens);
  const place = <usize>(head / a.heads * tokens * stride + head % a.heads * dim * 4);
  const p = changetype<Product>(scratch), weights = scratch + HEAD;
  const size = <usize>(tokens * pitch) * 4, scores = weights + size, rest = scores + size;
  if (a.kept) {
    const kept = <usize>a.kept + <usize>(head * tokens * tokens) * 4;
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < pitch; j += 4) {
        v128.store(
          weights + <usize>(i * pitch + j) * 4,
          loadUpTo(kept + <usize>(i * tokens + j) * 4, tokens - j),
        );
      }
    }
  } else signedWeights(a, head, place, weights, pitch, p, rest);
  // The gradient of the dropped weights: upstream @ value^T.
  describe(
    p, <usize>a.attended + place, stride, 4, <usize>a.value + place, 4, stride,
    scores, pitch * 4, tokens, tokens, dim, 1,
  );
  product(p, 0, tokens, 0, tokens, rest);
  const half = f32x4.splat(a.keepScale / 2);
  for (let i = 0; i < tokens; i++) {
    const row = <usize>(i * pitch) * 4;
    for (let j = tokens; j < pitch; j++) store<f32>(scores + row + <usize>j * 4, 0);
    let delta = f32x4.splat(0);
    for (let j = 0; j < pitch; j += 4) {
      const at = row + <usize>j * 4, weight = v128.load(weights + at);
      const used = f32x4.mul(f32x4.add(weight, f32x4.abs(weight)), half);
      const gradient = f32x4.mul(used, v128.load(scores + at));
      v128.store(scores + at, gradient);
      delta = f32x4.add(delta, gradient);
    }
    const total = f32x4.splat(horizontalSum(delta));
    for (let j = 0; j < pitch; j += 4) {
      const at = row + <usize>j * 4, weight = v128.load(weights + at);
      const absolute = f32x4.abs(weight);
      v128.store(scores + at, f32x4.sub(v128.load(scores + at), f32x4.mul(absolute, total)));
      v128.store(weights + at, f32x4.mul(f32x4.add(weight, absolute), half));
    }
  }
  const scale: f32 = (<f32>1) / Mathf.sqrt(<f32>dim);
  describe(
    p, scores, pitch * 4, 4, <usize>a.key + place, stride, 4,
    <usize>a.dQuery + place, stride, tokens, dim, tokens, scale,
  );
  product(p, 0, tokens, 0, dim, rest);
  describe(
    p, scores, 4, pitch * 4, <usize>a.query + place, stride, 4,
    <usize>a.dKey + place, stride, tokens, dim, tokens, scale,
  );
  product(p, 0, tokens, 0, dim, rest);
  describe(
    p, weights, 4, pitch * 4, <usize>a.attended + place, stride, 4,
    <usize>a.dValue + place, stride, tokens, dim, tokens, 1,
  );
  product(p, 0, tokens, 0, dim, rest);
}
