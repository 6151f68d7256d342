/** Convolutions of a stage with a quarter of the multiplications; see `assembly/winograd.ts`. */
import { hostAllocate } from "../../backend/host.ts";
import type { Pool, Work } from "../../simd/pool.ts";
import { DESCRIPTION_BYTES, descriptionOf, productScratch, whole } from "../../simd/product.ts";
import type { TensorInfo } from "../../tfjs.ts";
import { dispose } from "../register.ts";
import { type FrameSizes, frameSizes, KERNEL } from "./sizes.ts";

/** Pixels of a tile's side. */
const TILE = 4;
/** Multiplications of a tile: 6x6. */
const POINTS = 36;
/** Below, the transforms cost what they save. */
const LEAST_CHANNELS = 32;
/** Bytes of an image's points, beyond which they leave the cache between the transforms. */
const MOST_BYTES = 2 ** 23;
/** Rows of a product that are worth packing its right operand for. */
const LEAST_ROWS = 64;
/** Tasks of the kernel's gradient: each has sums of its own. */
const GRADIENT_TASKS = 16;
/** Bytes of a transform between its two directions, and between matrices. */
const OWN = { between: 576, line: 64 };

const tilesOf = ({ height, width }: FrameSizes) => (height / TILE) * (width / TILE);

/** Bytes of 36 matrices of so many rows. */
const pointBytes = (rows: number, columns: number) => POINTS * (4 * rows * columns + OWN.line);

/** Whether a convolution of such frames to so many filters is faster this way. */
export function suits(sizes: FrameSizes, filters: number): boolean {
  const { height, width, channels } = sizes;
  const tiles = tilesOf(sizes);
  return height % TILE === 0 && width % TILE === 0 &&
    Math.min(channels, filters) >= LEAST_CHANNELS &&
    pointBytes(tiles, channels) + pointBytes(tiles, filters) <= MOST_BYTES;
}

/** What a convolution's tasks are told, and how large they are. */
interface Convolution {
  words: Int32Array;
  work: Work;
  imagesEach: number;
}

function convolutionOf(
  pool: Pool,
  frame: TensorInfo,
  filters: number,
  { points, upstream, to }: { points: TensorInfo; upstream?: TensorInfo; to?: TensorInfo },
): Convolution {
  const sizes = frameSizes(frame);
  const { batch, height, width, channels } = sizes;
  const imagesEach = Math.min(batch, Math.ceil(LEAST_ROWS / tilesOf(sizes)));
  const rows = imagesEach * tilesOf(sizes);
  const imagesOfTask = upstream ? gradientImages(batch, imagesEach) : imagesEach;
  return {
    words: descriptionOf(whole(
      ...[height, width, channels, filters, batch, imagesEach, imagesOfTask],
      ...[frame, points, upstream, to].map((tensor) => pool.addressOf(tensor)),
    )),
    work: {
      tasks: Math.ceil(batch / imagesOfTask),
      cost: batch * tilesOf(sizes) * POINTS * channels * filters / 8,
      scratch: DESCRIPTION_BYTES + OWN.between + pointBytes(rows, channels) +
        pointBytes(rows, filters) + productScratch(upstream ? rows : channels, filters),
    },
    imagesEach,
  };
}

/** Images of a task of the kernel's gradient: what is summed where must not depend on threads. */
const gradientImages = (batch: number, each: number) =>
  each * Math.ceil(batch / each / GRADIENT_TASKS);

/** The 36 matrices `[channels, filters]` of a kernel as `matrixOf` makes it. */
function pointsOf(pool: Pool, matrix: TensorInfo, channels: number): TensorInfo {
  const filters = matrix.shape[1]!;
  const points = hostAllocate([POINTS, channels, filters]);
  const work = { tasks: channels, cost: 40 * channels * filters, scratch: OWN.between };
  pool.run("winogradKernelTask", work, [points, matrix, channels, filters]);
  return points;
}

/** A convolution by a matrix of `matrixOf`, into `[batch, height, width, filters]`. */
export function winogradConvolution(
  pool: Pool,
  frame: TensorInfo,
  matrix: TensorInfo,
  to: TensorInfo,
): void {
  const points = pointsOf(pool, matrix, frameSizes(frame).channels);
  const { words, work } = convolutionOf(pool, frame, matrix.shape[1]!, { points, to });
  pool.run("winogradTask", work, [words]);
  dispose(points);
}

/**
 * Convolution, relu and pooling.
 *
 * @param stage The words of `Stage` in `assembly/convolution.ts`.
 */
export function winogradPool(
  pool: Pool,
  frame: TensorInfo,
  matrix: TensorInfo,
  stage: Int32Array,
): void {
  const { height, width, channels } = frameSizes(frame);
  const filters = matrix.shape[1]!;
  const points = pointsOf(pool, matrix, channels);
  const { words, work, imagesEach } = convolutionOf(pool, frame, filters, { points });
  const pixels = 4 * imagesEach * height * width * filters;
  pool.run("winogradPoolTask", { ...work, scratch: work.scratch! + pixels }, [words, stage]);
  dispose(points);
}

/** The gradient of a kernel as a matrix, `[9 * channels, filters]`. */
export function winogradKernelGradient(
  pool: Pool,
  frame: TensorInfo,
  upstream: TensorInfo,
): TensorInfo {
  const { batch, channels } = frameSizes(frame);
  const filters = frameSizes(upstream).channels;
  const matrix = hostAllocate([KERNEL ** 2 * channels, filters]);
  const parts = Math.min(batch, GRADIENT_TASKS);
  const points = hostAllocate([parts, POINTS, channels, filters]);
  const { words, work } = convolutionOf(pool, frame, filters, { points, upstream });
  pool.run("winogradGradTask", work, [words]);
  const sums = { tasks: channels, cost: 40 * channels * filters, scratch: 2 * OWN.between };
  pool.run("winogradKernelGradTask", sums, [matrix, points, work.tasks, channels, filters]);
  dispose(points);
  return matrix;
}
