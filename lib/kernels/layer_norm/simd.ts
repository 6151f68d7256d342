/** Layer normalization on the wasm backend with all processors; see lib/simd. */
import { hostAllocate } from "../../backend/host.ts";
import type { Pool } from "../../simd/pool.ts";
import { descriptionOf, whole } from "../../simd/product.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { sumOfParts } from "../linear/simd.ts";
import { type GradInputs, type Inputs, rowsOf } from "./wgsl.ts";

/** Rows of a task; their part of the gradients of gamma and beta is one sum. */
const BLOCK = 128;

/** Names of the addresses in a description, in its order. */
const addresses = ["x", "gamma", "beta", "y", "moments", "dy", "dx", "added", "parts"] as const;

function run(
  pool: Pool,
  name: string,
  tensors: { [Name in typeof addresses[number]]?: TensorInfo },
  { rows, dim }: { rows: number; dim: number },
  epsilon: number,
): void {
  const places = addresses.map((name) => pool.addressOf(tensors[name]));
  pool.run(name, { tasks: Math.ceil(rows / BLOCK), cost: 4 * rows * dim }, [
    descriptionOf([...whole(...places, rows, dim, BLOCK), ["f", epsilon]]),
  ]);
}

/** The normalized rows, and each row's mean and reciprocal deviation. */
export function simdForward(pool: Pool, { x, gamma, beta }: Inputs, epsilon: number): TensorInfo[] {
  const sizes = rowsOf(x);
  const [y, moments] = [hostAllocate(x.shape), hostAllocate([sizes.rows, 2])];
  run(pool, "layerNormTask", { x, gamma, beta, y, moments }, sizes, epsilon);
  return [y, moments];
}

/** The gradients of x, gamma and beta. */
export function simdBackward(pool: Pool, { dy, x, gamma, moments, added }: GradInputs) {
  const sizes = rowsOf(x);
  const { rows, dim } = sizes;
  const dx = hostAllocate(x.shape);
  const parts = hostAllocate([Math.ceil(rows / BLOCK), 2, dim]);
  run(pool, "layerNormGradTask", { dy, x, gamma, moments, added, dx, parts }, sizes, 0);
  const [dGamma, dBeta] = [0, dim].map((start) =>
    sumOfParts(parts, dim, [dim], { start, pitch: 2 * dim })
  );
  tf.backend().disposeData(parts.dataId);
  return [dx, dGamma!, dBeta!];
}
