/** Convolution stages on the webgpu backend; see conv_tokens.ts for the design. */
import { dispatch, uniformWords, unsigned } from "../../backend/compute.ts";
import { currentGpu } from "../../backend/device.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { gridOf } from "../grid.ts";
import { splitCount, tileName } from "../matmul/matmul.ts";
import { chooseTile, hasSubgroupsOf8, type ProductShape, workgroupTile } from "../matmul/tiles.ts";
import { matmulWgsl } from "../matmul/wgsl.ts";
import { sumLeading } from "../sum_leading.ts";
import { dispose } from "../register.ts";
import {
  frameShape,
  type FrameSizes,
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
import { frameWgsl, LANES, poolGradWgsl, poolWgsl, rearrangeWgsl, withConstants } from "./wgsl.ts";

const TAPS = KERNEL ** 2;
const sizeOf = tf.util.sizeFromShape;
const words = (...numbers: number[]) => uniformWords(unsigned(...numbers));
const blocks = (threads: number) => gridOf(Math.ceil(threads / LANES));

/** Images as a frame. */
export function frameOf(x: TensorInfo): TensorInfo {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const shape = frameShape({ batch, height, width, channels: padded(channels) });
  return dispatch({
    key: "conv_tokens/frame",
    wgsl: () => frameWgsl,
    inputs: [x],
    outputs: [{ shape, dtype: "float32" }],
    uniforms: words(sizeOf(shape), height, width, channels, padded(channels)),
    workgroups: blocks(sizeOf(shape)),
  })[0]!;
}

/** An order of a kernel's elements for {@linkcode rearrangeWgsl}; strides are the source's. */
interface Arrangement {
  rows: number;
  columns: number;
  /** Beyond these the result is 0. */
  rowEnd: number;
  columnEnd: number;
  rowStride: number;
  columnStride: number;
  /** Elements of a tap in the source; negative where its taps are taken from the last. */
  tapStride: number;
}

function rearranged(x: TensorInfo, a: Arrangement): TensorInfo {
  const size = TAPS * a.rows * a.columns;
  return dispatch({
    key: "conv_tokens/rearrange",
    wgsl: () => rearrangeWgsl,
    inputs: [x],
    outputs: [{ shape: [TAPS * a.rows, a.columns], dtype: "float32" }],
    uniforms: uniformWords([
      ["u", size],
      ["u", a.rows],
      ["u", a.columns],
      ["u", a.rowEnd],
      ["u", a.columnEnd],
      ["u", a.tapStride < 0 ? -a.tapStride * (TAPS - 1) : 0],
      ["i", a.tapStride],
      ["u", a.rowStride],
      ["u", a.columnStride],
    ]),
    workgroups: blocks(size),
  })[0]!;
}

const channelsOf = ({ shape }: TensorInfo): [channels: number, filters: number] => [
  shape[2]!,
  shape[3]!,
];
const isFull = (kernel: TensorInfo) => channelsOf(kernel).every((n) => padded(n) === n);

/** A kernel as a matrix `[9 * padded(channels), padded(filters)]`. */
function filledUp(kernel: TensorInfo): TensorInfo {
  const [channels, filters] = channelsOf(kernel);
  return rearranged(kernel, {
    ...{ rows: padded(channels), rowEnd: channels, rowStride: filters },
    ...{ columns: padded(filters), columnEnd: filters, columnStride: 1 },
    tapStride: channels * filters,
  });
}

/** A kernel turned by half a turn, from filters to channels: `[9 * padded(filters), padded(channels)]`. */
function turned(kernel: TensorInfo): TensorInfo {
  const [channels, filters] = channelsOf(kernel);
  return rearranged(kernel, {
    ...{ rows: padded(filters), rowEnd: filters, rowStride: 1 },
    ...{ columns: padded(channels), columnEnd: channels, columnStride: filters },
    tapStride: -channels * filters,
  });
}

/**
 * The functions that a matrix product's module needs to find windows.
 *
 * @param fixed Numbers for the uniform's height and width, where each step of a sum divides by them:
 * a division by what a uniform holds would cost as much as the step's multiply-adds.
 */
function windowsWgsl(fixed?: FrameSizes): string {
  const [width, pixels] = fixed
    ? [`${fixed.width}u`, `${fixed.width * fixed.height}u`]
    : ["u.width", "(u.width * u.height)"];
  return /* wgsl */ `
struct Uniforms {
  rows: u32, columns: u32, depth: u32, chunk: u32, height: u32, width: u32, channels: u32, run: u32, skip: u32,
}
fn framed(row: u32) -> u32 {
  return row + row / ${width} * 2u + row / ${pixels} * (2u * ${width} + 4u);
}
fn window_start(row: u32) -> u32 { return framed(row) * u.channels; }
// A window is three runs of memory, one below the other.
fn window_element(k: u32) -> u32 {
  return k + select(0u, u.skip, k >= u.run) + select(0u, u.skip, k >= 2u * u.run);
}
fn row_of_b(row: u32) -> u32 { return framed(row) + ${width} + 3u; }
`;
}

function windowsUniforms(
  { rows, columns, depth }: ProductShape,
  chunk: number,
  { height, width, channels }: FrameSizes,
): Uint32Array {
  const run = KERNEL * channels;
  const skip = (width + 2) * channels - run;
  return words(rows, columns, depth, chunk, height, width, channels, run, skip);
}

/** A 3x3 convolution of a frame, padding 1: `[batch * height * width, columns]`. */
function convolve(frame: TensorInfo, matrix: TensorInfo): TensorInfo {
  const sizes = frameSizes(frame);
  const { batch, height, width } = sizes;
  const [depth, columns] = matrix.shape as [number, number];
  const product: ProductShape = { layout: "nn", rows: batch * height * width, depth, columns };
  const tile = chooseTile(product, hasSubgroupsOf8());
  const group = workgroupTile(tile);
  return dispatch({
    key: `conv_tokens/nn/${tileName(tile)}`,
    wgsl: () =>
      matmulWgsl({
        ...{ layout: "nn", tile, widthA: 4, width: 4, parts: 1, windows: true },
        ...{ downFirst: false, columnSums: false, extraInputs: [], extraOutputs: [], prologue: "" },
        declarations: windowsWgsl(),
        store: () => "y0[(row * u.columns + column) / 4u] = sum;",
      }),
    inputs: [frame, matrix],
    outputs: [{ shape: [product.rows, columns], dtype: "float32" }],
    uniforms: windowsUniforms(product, depth, sizes),
    workgroups: [
      Math.ceil(columns / group.columns),
      Math.ceil(product.rows / group.rows),
      1,
    ],
  })[0]!;
}

/** Convolution, relu and pooling: the pooled images, and the places of their values. */
export function convPool({ frame, kernel }: StageInputs, last: boolean): TensorInfo[] {
  const { batch, height, width } = frameSizes(frame);
  const [, filters] = channelsOf(kernel);
  const matrix = isFull(kernel)
    ? { ...kernel, shape: [sizeOf(kernel.shape) / filters, filters] }
    : filledUp(kernel);
  const z = convolve(frame, matrix);
  if (!isFull(kernel)) dispose(matrix);

  const [pooledHeight, pooledWidth] = [pooled(height), pooled(width)];
  const vectors = padded(filters) / 4;
  const shape = last ? [batch, pooledHeight * pooledWidth, filters] : frameShape({
    batch,
    height: pooledHeight,
    width: pooledWidth,
    channels: 4 * vectors,
  });
  const threads = last ? batch * pooledHeight * pooledWidth * vectors : sizeOf(shape) / 4;
  const store = filters % 4 === 0 ? 4 : 1;
  const results = dispatch({
    key: `conv_tokens/pool/${last ? store : "frame"}`,
    wgsl: () => poolWgsl(!last, store),
    inputs: [z],
    outputs: [
      { shape, dtype: "float32" },
      { shape: [batch, pooledHeight, pooledWidth, vectors], dtype: "int32" },
    ],
    uniforms: words(threads, height, width, pooledHeight, pooledWidth, vectors, filters),
    workgroups: blocks(threads),
  });
  dispose(z);
  return results;
}

/** The gradient of the convolution, as a frame of images of that size. */
export function poolGrad(
  { dy, places }: PoolGradInputs,
  { height, width }: { height: number; width: number },
): TensorInfo {
  const { batch, pooledHeight, pooledWidth, vectors } = placesSizes(places);
  const columns = sizeOf(dy.shape) / (batch * pooledHeight * pooledWidth);
  const shape = frameShape({ batch, height, width, channels: 4 * vectors });
  const load = columns % 4 === 0 ? 4 : 1;
  // Two by two pixels each.
  const threads = batch * Math.ceil((height + 2) / 2) * Math.ceil((width + 2) / 2) * vectors;
  const sizes = { height, width, pooled_height: pooledHeight, pooled_width: pooledWidth, vectors };
  const isFixed = currentGpu()?.isSoftware ?? false;
  return dispatch({
    key: `conv_tokens/pool_grad/${load}${isFixed ? `/${Object.values(sizes)}` : ""}`,
    wgsl: () => isFixed ? withConstants(poolGradWgsl(load), sizes) : poolGradWgsl(load),
    inputs: [dy, places],
    outputs: [{ shape, dtype: "float32" }],
    uniforms: words(threads, height, width, pooledHeight, pooledWidth, vectors, columns),
    workgroups: blocks(threads),
  })[0]!;
}

/** Floats of both operands that stay in a processor's cache: 1 MB. */
const CACHED = 2 ** 18;
const MIN_SPLIT_ROWS = 512;

/**
 * How many parts the pixels of a kernel's gradient are cut into. A software adapter walks through
 * both operands once for every 32 elements of a window: in parts that stay in the processor's cache
 * that took a third of the time (16 parts of 32,768 pixels, 64 channels, 128 filters).
 */
function splitsOf(product: ProductShape, channels: number): number {
  const splits = splitCount(product, 1);
  if (!currentGpu()?.isSoftware) return splits;
  const rows = Math.max(MIN_SPLIT_ROWS, CACHED / (channels + product.columns));
  return Math.max(splits, Math.ceil(product.depth / rows));
}

/** The gradient of a kernel of that shape. */
export function gradKernel({ frame, dz }: GradKernelInputs, shape: number[]): TensorInfo {
  const sizes = frameSizes(frame);
  const { batch, height, width, channels } = sizes;
  const columns = frameSizes(dz).channels;
  const rows = TAPS * channels;
  const depth = batch * height * width;
  const product: ProductShape = { layout: "tn", rows, depth, columns };
  const tile = chooseTile(product, hasSubgroupsOf8());
  const group = workgroupTile(tile);
  const chunk = Math.ceil(depth / splitsOf(product, channels) / 8) * 8;
  const splits = Math.ceil(depth / chunk);
  const [result] = dispatch({
    key: `conv_tokens/tn/${tileName(tile)}/${height}x${width}`,
    wgsl: () =>
      matmulWgsl({
        ...{ layout: "tn", tile, widthA: 4, width: 4, parts: 1, windows: true },
        ...{ downFirst: true, columnSums: false, extraInputs: [], extraOutputs: [], prologue: "" },
        declarations: windowsWgsl(sizes),
        store: () => "y0[((split * u.rows + row) * u.columns + column) / 4u] = sum;",
      }),
    inputs: [frame, dz],
    outputs: [{ shape: [...(splits > 1 ? [splits] : []), rows, columns], dtype: "float32" }],
    uniforms: windowsUniforms(product, chunk, sizes),
    workgroups: [Math.ceil(rows / group.rows), Math.ceil(columns / group.columns), splits],
  });
  const whole = splits > 1 ? sumLeading([result!], splits)[0]! : result!;
  if (whole !== result) dispose(result!);
  const [, , given, filters] = shape as [number, number, number, number];
  if (given === channels && filters === columns) return { ...whole, shape };
  const cut = rearranged(whole, {
    ...{ rows: given, rowEnd: given, rowStride: columns },
    ...{ columns: filters, columnEnd: filters, columnStride: 1 },
    tapStride: channels * columns,
  });
  dispose(whole);
  return { ...cut, shape };
}

/** The gradient of a stage's input, `[batch, height, width, padded(channels)]`. */
export function gradX({ dz, kernel }: GradXInputs): TensorInfo {
  const { batch, height, width } = frameSizes(dz);
  const matrix = turned(kernel);
  const dx = convolve(dz, matrix);
  dispose(matrix);
  return { ...dx, shape: [batch, height, width, matrix.shape[1]!] };
}
