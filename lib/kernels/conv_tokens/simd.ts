/** Convolution stages on the wasm backend with all processors; see conv_tokens.ts and lib/simd. */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import type { Pool } from "../../simd/pool.ts";
import {
  DESCRIPTION_BYTES,
  descriptionOf,
  type Product,
  productScratch,
  productWords,
  runProduct,
  whole,
} from "../../simd/product.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { dispose } from "../register.ts";
import { matrixOf } from "./host.ts";
import {
  frameShape,
  frameSizes,
  type GradKernelInputs,
  type GradXInputs,
  KERNEL,
  padded,
  placesSizes,
  pooled,
  type PoolGradInputs,
  type StageInputs,
} from "./sizes.ts";
import { suits, winogradConvolution, winogradKernelGradient, winogradPool } from "./winograd.ts";

const sizeOf = tf.util.sizeFromShape;

/** Images as a frame. */
export function frameOf(pool: Pool, x: TensorInfo): TensorInfo {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const filled = padded(channels);
  const frame = hostAllocate(frameShape({ batch, height, width, channels: filled }));
  const work = { tasks: batch, cost: 4 * sizeOf(frame.shape) };
  pool.run("frameTask", work, [frame, x, height, width, channels, filled]);
  return frame;
}

/** A frame's windows as the rows of a product's left operand, and the terms of a window. */
function windowsOf(pool: Pool, frame: TensorInfo) {
  const { height, width, channels } = frameSizes(frame);
  const pitch = (width + 2) * channels;
  return {
    a: {
      ...{ base: pool.addressOf(frame), row: channels, step: 1, segment: pitch },
      ...{ inner: width, skip: 2 * channels, outer: width * height, outerSkip: 2 * pitch },
      image: (height + 2) * pitch,
    },
    count: KERNEL * channels,
    segments: KERNEL,
  };
}

/** The convolution of so many pixels by a matrix as `matrixOf` makes it. */
function convolution(
  pool: Pool,
  frame: TensorInfo,
  matrix: TensorInfo,
  to: number,
  rows: number,
): Product {
  const columns = matrix.shape[1]!;
  const windows = windowsOf(pool, frame);
  return {
    ...windows,
    b: {
      ...{ base: pool.addressOf(matrix), step: columns, column: 1 },
      segment: windows.count * columns,
    },
    c: { base: to, row: columns },
    ...{ rows, columns },
  };
}

/** Convolution, relu and pooling: the pooled images, and the places of their values. */
export function convPool(
  pool: Pool,
  { frame, kernel }: StageInputs,
  last: boolean,
): TensorInfo[] {
  const { batch, height, width } = frameSizes(frame);
  const filters = kernel.shape[3]!;
  const filled = padded(filters);
  const [pooledHeight, pooledWidth] = [pooled(height), pooled(width)];
  const y = hostAllocate(
    last ? [batch, pooledHeight * pooledWidth, filters] : frameShape({
      ...{ batch, height: pooledHeight, width: pooledWidth, channels: filled },
    }),
  );
  if (!last) hostFloats(y).fill(0);
  const places = hostAllocate([batch, pooledHeight, pooledWidth, filled / 4], "int32");
  const matrix = matrixOf(kernel, false);
  const stage = stageWords(pool, {
    ...{ height, width, pooledHeight, pooledWidth, filters: filled },
    ...{ columns: last ? filters : filled, border: last ? 0 : 1, y, places },
  });
  if (suits(frameSizes(frame), filled)) winogradPool(pool, frame, matrix, stage);
  else poolWindows(pool, frame, matrix, stage);
  dispose(matrix);
  return [y, places];
}

/** The convolution of each image as one product, then relu and pooling as the stage's words say. */
function poolWindows(
  pool: Pool,
  frame: TensorInfo,
  matrix: TensorInfo,
  stage: Int32Array,
): void {
  const { batch, height, width, channels } = frameSizes(frame);
  const filters = matrix.shape[1]!;
  const pixels = height * width;
  // Where its result lies is the task's own matter.
  const product = convolution(pool, frame, matrix, 0, pixels);
  const scratch = DESCRIPTION_BYTES + 4 * pixels * filters +
    productScratch(product.count, filters, product.segments);
  const cost = batch * pixels * filters * KERNEL ** 2 * channels / 8;
  pool.run("convPoolTask", { tasks: batch, scratch, cost }, [productWords(product), stage]);
}

interface Stage {
  height: number;
  width: number;
  pooledHeight: number;
  pooledWidth: number;
  filters: number;
  columns: number;
  border: number;
  y?: TensorInfo;
  places: TensorInfo;
  dy?: TensorInfo;
  dz?: TensorInfo;
}

function stageWords(pool: Pool, s: Stage): Int32Array {
  return descriptionOf(
    whole(
      ...[s.height, s.width, s.pooledHeight, s.pooledWidth, s.filters, s.columns, s.border],
      ...[s.y, s.places, s.dy, s.dz].map((tensor) => pool.addressOf(tensor)),
    ),
  );
}

/** The gradient of the convolution, as a frame of images of that size. */
export function poolGrad(
  pool: Pool,
  { dy, places }: PoolGradInputs,
  { height, width }: { height: number; width: number },
): TensorInfo {
  const { batch, pooledHeight, pooledWidth, vectors } = placesSizes(places);
  const filters = 4 * vectors;
  const columns = sizeOf(dy.shape) / (batch * pooledHeight * pooledWidth);
  const dz = hostAllocate(frameShape({ batch, height, width, channels: filters }));
  pool.run("poolGradTask", { tasks: batch, cost: 2 * sizeOf(dz.shape) }, [
    stageWords(pool, {
      ...{ height, width, pooledHeight, pooledWidth, filters, columns, border: 0 },
      ...{ places, dy, dz },
    }),
  ]);
  return dz;
}

/** The gradient of a kernel as a matrix, `[9 * channels, filters]`. */
function windowsGradient(pool: Pool, frame: TensorInfo, dz: TensorInfo): TensorInfo {
  const { batch, height, width, channels } = frameSizes(frame);
  const filters = frameSizes(dz).channels;
  const [rowOfTaps, pitch] = [KERNEL * channels, (width + 2) * channels];
  const upstreamPitch = (width + 2) * filters;
  const sums = hostAllocate([KERNEL * rowOfTaps, filters]);
  // windows^T @ dz: a row is a tap's channel, a term a pixel, a segment a row of pixels.
  const product: Product = {
    a: {
      ...{ base: pool.addressOf(frame), row: 1, inner: rowOfTaps, skip: pitch - rowOfTaps },
      ...{ step: channels, segment: pitch, image: (height + 2) * pitch },
    },
    b: {
      // The pixels within the border.
      ...{ base: pool.addressOf(dz) + 4 * (upstreamPitch + filters), column: 1 },
      ...{ step: filters, segment: upstreamPitch, image: (height + 2) * upstreamPitch },
    },
    c: { base: pool.addressOf(sums), row: filters },
    ...{ rows: KERNEL * rowOfTaps, columns: filters },
    ...{ count: width, segments: height, images: batch },
  };
  runProduct(pool, product);
  return sums;
}

/** The gradient of a kernel of that shape. */
export function gradKernel(
  pool: Pool,
  { frame, dz }: GradKernelInputs,
  shape: number[],
): TensorInfo {
  const { channels } = frameSizes(frame);
  const filled = frameSizes(dz).channels;
  const [, , given, filters] = shape as [number, number, number, number];
  const sums = suits(frameSizes(frame), filled)
    ? winogradKernelGradient(pool, frame, dz)
    : windowsGradient(pool, frame, dz);
  if (given === channels && filters === filled) return { ...sums, shape };
  const result = hostAllocate(shape);
  const [from, to] = [hostFloats(sums), hostFloats(result)];
  for (let tap = 0, i = 0; tap < KERNEL ** 2; tap++) {
    for (let c = 0; c < given; c++) {
      for (let f = 0; f < filters; f++) to[i++] = from[(tap * channels + c) * filled + f]!;
    }
  }
  dispose(sums);
  return result;
}

/** The gradient of a stage's input, `[batch, height, width, padded(channels)]`. */
export function gradX(pool: Pool, { dz, kernel }: GradXInputs): TensorInfo {
  const { batch, height, width } = frameSizes(dz);
  const matrix = matrixOf(kernel, true);
  const dx = hostAllocate([batch, height, width, matrix.shape[1]!]);
  if (suits(frameSizes(dz), matrix.shape[1]!)) winogradConvolution(pool, dz, matrix, dx);
  else runProduct(pool, convolution(pool, dz, matrix, pool.addressOf(dx), batch * height * width));
  dispose(matrix);
  return dx;
}
