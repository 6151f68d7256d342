/** Sequence pooling on the wasm backend with all processors; see lib/simd. */
import { hostAllocate } from "../../backend/host.ts";
import type { Pool } from "../../simd/pool.ts";
import type { TensorInfo } from "../../tfjs.ts";
import { simdSumRows } from "../linear/simd.ts";
import { dispose } from "../register.ts";
import { type PoolingGradInputs, type PoolingInputs, sizesOf } from "./sizes.ts";

/** The pooled tokens and their weights. */
export function simdSequencePooling(pool: Pool, { x, kernel, bias }: PoolingInputs): TensorInfo[] {
  const [batch, tokens, dim] = sizesOf(x);
  const y = hostAllocate([batch, dim]);
  const weights = hostAllocate([batch, tokens]);
  const work = { tasks: batch, cost: batch * tokens * (dim / 2 + 8) };
  pool.run("sequencePoolingTask", work, [x, kernel, bias, y, weights, tokens, dim]);
  return [y, weights];
}

/** The gradients of tokens, kernel and bias. */
export function simdSequencePoolingGrad(
  pool: Pool,
  { dy, x, kernel, weights }: PoolingGradInputs,
): TensorInfo[] {
  const [batch, tokens, dim] = sizesOf(x);
  const dx = hostAllocate(x.shape);
  const parts = [hostAllocate([batch, dim]), hostAllocate([batch, 1])];
  const work = { tasks: batch, cost: batch * tokens * dim, scratch: 4 * tokens };
  pool.run("sequencePoolingGradTask", work, [
    ...[dy, x, kernel, weights, dx, ...parts],
    ...[tokens, dim],
  ]);
  const sums = [kernel.shape, [1]].map((shape, i) => simdSumRows(pool, parts[i]!, shape));
  dispose(...parts);
  return [dx, ...sums];
}
