/** Dense layers on the wasm backend with all processors; see lib/simd. */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import type { StreamKey } from "../../random.ts";
import type { Pool } from "../../simd/pool.ts";
import { descriptionOf, matrixProduct, runProduct, whole } from "../../simd/product.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";

const sizeOf = tf.util.sizeFromShape;

/** Steps that follow a product, in this order. */
export interface SimdFinish {
  bias?: TensorInfo;
  /** GELU, the exact one or that by tanh. */
  gelu: boolean | "tanh";
  drop?: { threshold: number; scale: number; key: StreamKey };
  /** y's size, or a whole part of it that repeats. */
  residual?: TensorInfo;
  /** Receives the derivative of dropout(gelu(z)) to z. */
  slope?: TensorInfo;
  /** Of y's size; multiplies last. */
  factor?: TensorInfo;
}

/** x @ kernel and what follows: `[rows, in]` x `[in, out]` -> `[rows, out]`. */
export function simdForward(
  pool: Pool,
  x: TensorInfo,
  kernel: TensorInfo,
  { bias, gelu, drop, residual, slope }: SimdFinish,
): TensorInfo {
  const [depth, columns] = kernel.shape as [number, number];
  const rows = sizeOf(x.shape) / depth;
  const y = hostAllocate([rows, columns]);
  const product = matrixProduct(pool, "nn", [x, kernel, y], { rows, depth, columns });
  runProduct(pool, product, finishWords(pool, columns, { bias, gelu, drop, residual, slope }));
  return y;
}

/** The words of what follows a product. */
function finishWords(
  pool: Pool,
  columns: number,
  { bias, gelu, drop, residual, slope, factor }: SimdFinish,
): Int32Array {
  const at = (tensor?: TensorInfo) => pool.addressOf(tensor);
  return descriptionOf([
    ...whole(at(bias), gelu === "tanh" ? 2 : Number(gelu), Number(drop !== undefined)),
    ...whole(
      drop?.key.word0 ?? 0,
      drop?.key.word1 ?? 0,
      drop?.key.first ?? 0,
      drop?.threshold ?? 0,
    ),
    ["f", drop?.scale ?? 1],
    ...whole(residual ? sizeOf(residual.shape) / columns : 1, at(residual), at(slope), at(factor)),
    ["f", 0],
  ]);
}

/** dz @ kernel^T, times `factor`: `[rows, out]` x `[in, out]` -> `[rows, in]`. */
export function simdGradX(
  pool: Pool,
  dz: TensorInfo,
  kernel: TensorInfo,
  factor?: TensorInfo,
): TensorInfo {
  const [columns, depth] = kernel.shape as [number, number];
  const dx = hostAllocate([sizeOf(dz.shape) / depth, columns]);
  addGradX(pool, dx, dz, kernel, { factor });
  return dx;
}

/** The sum over all pairs of dz @ kernel^T. */
export function simdGradXOfMany(
  pool: Pool,
  dzs: TensorInfo[],
  kernels: TensorInfo[],
): TensorInfo {
  const dx = simdGradX(pool, dzs[0]!, kernels[0]!);
  for (let i = 1; i < dzs.length; i++) addGradX(pool, dx, dzs[i]!, kernels[i]!, { adds: true });
  return dx;
}

function addGradX(
  pool: Pool,
  dx: TensorInfo,
  dz: TensorInfo,
  kernel: TensorInfo,
  { factor, adds }: { factor?: TensorInfo; adds?: boolean },
): void {
  const [columns, depth] = kernel.shape as [number, number];
  const rows = sizeOf(dz.shape) / depth;
  const product = {
    ...matrixProduct(pool, "nt", [dz, kernel, dx], { rows, depth, columns }),
    adds,
  };
  runProduct(pool, product, factor && finishWords(pool, columns, { gelu: false, factor }));
}

/** x^T @ dz: `[rows, in]` x `[rows, out]` -> `[in, out]`. */
export function simdGradKernel(pool: Pool, x: TensorInfo, dz: TensorInfo): TensorInfo {
  const [depth, columns] = dz.shape as [number, number];
  const rows = sizeOf(x.shape) / depth;
  const dKernel = hostAllocate([rows, columns]);
  const product = matrixProduct(pool, "tn", [x, dz, dKernel], { rows, depth, columns });
  runProduct(pool, product);
  return dKernel;
}

/** Elements of a task that reads and writes each once. */
const PIECE = 2 ** 15;

/** Products element by element; `to` may be one of the factors. */
export function simdMultiply(pool: Pool, to: TensorInfo, a: TensorInfo, b: TensorInfo): void {
  const size = sizeOf(to.shape);
  const work = { tasks: Math.ceil(size / PIECE), cost: size };
  pool.run("multiplyTask", work, [to, a, b, size, PIECE]);
}

/** Rows whose sum is a task. */
const BLOCK = 256;

/** The sum of a tensor over its leading dimensions, down to `shape`. */
export function simdSumRows(pool: Pool, x: TensorInfo, shape: number[]): TensorInfo {
  const columns = sizeOf(shape);
  const rows = sizeOf(x.shape) / columns;
  const blocks = Math.ceil(rows / BLOCK);
  const parts = hostAllocate([blocks, columns]);
  pool.run("sumRowsTask", { tasks: blocks, cost: rows * columns }, [
    parts,
    x,
    rows,
    columns,
    BLOCK,
  ]);
  const output = sumOfParts(parts, columns, shape);
  tf.backend().disposeData(parts.dataId);
  return output;
}

/** The sum of blocks of `size` elements from `start`, added in float64. */
export function sumOfParts(
  parts: TensorInfo,
  size: number,
  shape: number[],
  { start = 0, pitch = size }: { start?: number; pitch?: number } = {},
): TensorInfo {
  const output = hostAllocate(shape);
  const from = hostFloats(parts);
  const sums = new Float64Array(size);
  for (let base = start; base < from.length; base += pitch) {
    for (let i = 0; i < size; i++) sums[i]! += from[base + i]!;
  }
  hostFloats(output).set(sums);
  return output;
}
