/**
 * Convolution stages on wasm and cpu; see conv_tokens.ts for the design.
 *
 * A few images at a time, windows are copied side by side, `[pixels, 9 * channels]`, few enough to
 * stay in the processor's cache, and multiplied by tfjs's matMul without transposition, the only
 * form for which the wasm backend uses its SIMD code. It packs the right operand once per tensor:
 * forward that is the kernel, once for all pieces; for the kernel's gradient it is each piece, and
 * the smaller operand is the one that our loop turns.
 */
import { hostAllocate, hostFloats, hostInts } from "../../backend/host.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { hostProduct } from "../matmul/host.ts";
import { dispose } from "../register.ts";
import {
  frameShape,
  frameSizes,
  type GradKernelInputs,
  type GradXInputs,
  KERNEL,
  NOWHERE,
  padded,
  placesSizes,
  pooled,
  type PoolGradInputs,
  type StageInputs,
} from "./sizes.ts";

const TAPS = KERNEL ** 2;
/** Floats of a piece of windows: 4 MB. */
const PIECE = 2 ** 20;

const sizeOf = tf.util.sizeFromShape;

/** Images as a frame. */
export function frameOf(x: TensorInfo): TensorInfo {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const filled = padded(channels);
  const frame = hostAllocate(frameShape({ batch, height, width, channels: filled }));
  const [from, to] = [hostFloats(x), hostFloats(frame)];
  to.fill(0);
  let i = 0;
  for (let image = 0; image < batch; image++) {
    for (let row = 0; row < height; row++) {
      let o = ((image * (height + 2) + row + 1) * (width + 2) + 1) * filled;
      for (let column = 0; column < width; column++, o += filled) {
        for (let c = 0; c < channels; c++) to[o + c] = from[i++]!;
      }
    }
  }
  return frame;
}

/** The windows of images `first` to below `end`, `[pixels, 9 * channels]`. */
function windowsOf(frame: TensorInfo, first: number, end: number): TensorInfo {
  const { height, width, channels } = frameSizes(frame);
  const windows = hostAllocate([(end - first) * height * width, TAPS * channels]);
  const [from, to] = [hostFloats(frame), hostFloats(windows)];
  const pitch = (width + 2) * channels;
  const run = KERNEL * channels;
  let o = 0;
  for (let image = first; image < end; image++) {
    for (let row = 0; row < height; row++) {
      let start = (image * (height + 2) + row) * pitch;
      for (let column = 0; column < width; column++, start += channels) {
        for (let line = start; line < start + KERNEL * pitch; line += pitch) {
          for (let i = line; i < line + run; i++) to[o++] = from[i]!;
        }
      }
    }
  }
  return windows;
}

/** Calls for pieces of the images of a frame, whole images each. */
function forEachPiece(frame: TensorInfo, visit: (first: number, end: number) => void): void {
  const { batch, height, width, channels } = frameSizes(frame);
  const images = Math.max(1, Math.floor(PIECE / (height * width * TAPS * channels)));
  for (let first = 0; first < batch; first += images) visit(first, Math.min(batch, first + images));
}

/** A kernel as a matrix `[9 * padded(channels), padded(filters)]`; with `turn`, see `gradX`. */
export function matrixOf(kernel: TensorInfo, turn: boolean): TensorInfo {
  const [, , channels, filters] = kernel.shape as [number, number, number, number];
  const [rows, columns] = turn
    ? [padded(filters), padded(channels)]
    : [padded(channels), padded(filters)];
  const matrix = hostAllocate([TAPS * rows, columns]);
  const [from, to] = [hostFloats(kernel), hostFloats(matrix)];
  to.fill(0);
  let i = 0;
  for (let tap = 0; tap < TAPS; tap++) {
    for (let c = 0; c < channels; c++) {
      for (let f = 0; f < filters; f++) {
        const place = turn
          ? ((TAPS - 1 - tap) * rows + f) * columns + c
          : (tap * rows + c) * columns + f;
        to[place] = from[i++]!;
      }
    }
  }
  return matrix;
}

/** Convolution, relu and pooling: the pooled images, and the places of their values. */
export function convPool({ frame, kernel }: StageInputs, last: boolean): TensorInfo[] {
  const { batch, height, width } = frameSizes(frame);
  const filters = kernel.shape[3]!;
  const filled = padded(filters);
  const [pooledHeight, pooledWidth] = [pooled(height), pooled(width)];
  const border = last ? 0 : 1;
  const columns = last ? filters : filled;
  const y = hostAllocate(
    last ? [batch, pooledHeight * pooledWidth, filters] : frameShape({
      ...{ batch, height: pooledHeight, width: pooledWidth, channels: filled },
    }),
  );
  const places = hostAllocate([batch, pooledHeight, pooledWidth, filled / 4], "int32");
  hostFloats(y).fill(0);
  const matrix = matrixOf(kernel, false);
  const best = new Float32Array(columns);
  forEachPiece(frame, (first, end) => {
    const windows = windowsOf(frame, first, end);
    const product = hostProduct(windows, matrix);
    const z = hostFloats(product);
    const to = hostFloats(y);
    const place = bytesOf(places);
    for (let image = first; image < end; image++) {
      for (let py = 0; py < pooledHeight; py++) {
        for (let px = 0; px < pooledWidth; px++) {
          const at = ((image * pooledHeight + py) * pooledWidth + px) * filled;
          const row = image * (pooledHeight + 2 * border) + py + border;
          const start = (row * (pooledWidth + 2 * border) + px + border) * columns;
          place.fill(NOWHERE, at, at + filled);
          best.fill(0);
          for (let tap = 0; tap < TAPS; tap++) {
            const fromRow = 2 * py + Math.floor(tap / KERNEL) - 1;
            const fromColumn = 2 * px + tap % KERNEL - 1;
            if (fromRow < 0 || fromRow >= height || fromColumn < 0 || fromColumn >= width) continue;
            const from = (((image - first) * height + fromRow) * width + fromColumn) * filled;
            for (let c = 0; c < columns; c++) {
              const value = z[from + c]!;
              // Takes a NaN and keeps it: a weight that is not finite must reach the loss.
              if (value <= best[c]! || best[c] !== best[c]) continue;
              best[c] = value;
              place[at + c] = tap;
            }
          }
          to.set(best, start);
        }
      }
    }
    dispose(windows, product);
  });
  dispose(matrix);
  return [y, places];
}

function bytesOf(places: TensorInfo): Uint8Array {
  const { buffer, byteOffset, byteLength } = hostInts(places);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The gradient of the convolution, as a frame of images of that size. */
export function poolGrad(
  { dy, places }: PoolGradInputs,
  { height, width }: { height: number; width: number },
): TensorInfo {
  const { batch, pooledHeight, pooledWidth, vectors } = placesSizes(places);
  const filled = 4 * vectors;
  const columns = sizeOf(dy.shape) / (batch * pooledHeight * pooledWidth);
  const dz = hostAllocate(frameShape({ batch, height, width, channels: filled }));
  const [from, to, place] = [hostFloats(dy), hostFloats(dz), bytesOf(places)];
  to.fill(0);
  let window = 0;
  for (let image = 0; image < batch; image++) {
    for (let py = 0; py < pooledHeight; py++) {
      for (let px = 0; px < pooledWidth; px++, window++) {
        // Of the window's first pixel; the border takes what lies outside, which no place names.
        const start = ((image * (height + 2) + 2 * py) * (width + 2) + 2 * px) * filled;
        for (let c = 0; c < columns; c++) {
          const tap = place[window * filled + c]!;
          if (tap === NOWHERE) continue;
          const row = tap < 3 ? 0 : tap < 6 ? 1 : 2;
          to[start + (row * (width + 2) + tap - 3 * row) * filled + c]! +=
            from[window * columns + c]!;
        }
      }
    }
  }
  return dz;
}

/** The gradient of a kernel of that shape. */
export function gradKernel({ frame, dz }: GradKernelInputs, shape: number[]): TensorInfo {
  const { channels } = frameSizes(frame);
  const filled = frameSizes(dz).channels;
  const [, , given, filters] = shape as [number, number, number, number];
  const rows = TAPS * channels;
  // [filters, 9 * channels], the gradient turned.
  const sums = new Float64Array(filled * rows);
  forEachPiece(frame, (first, end) => {
    const windows = windowsOf(frame, first, end);
    const upstream = columnsOf(dz, first, end);
    const product = hostProduct(upstream, windows);
    const values = hostFloats(product);
    for (let i = 0; i < sums.length; i++) sums[i]! += values[i]!;
    dispose(windows, upstream, product);
  });
  const result = hostAllocate(shape);
  const to = hostFloats(result);
  let i = 0;
  for (let tap = 0; tap < TAPS; tap++) {
    for (let c = 0; c < given; c++) {
      for (let f = 0; f < filters; f++) to[i++] = sums[f * rows + tap * channels + c]!;
    }
  }
  return result;
}

/** The pixels of images `first` to below `end` of a frame, a row for each channel. */
function columnsOf(frame: TensorInfo, first: number, end: number): TensorInfo {
  const { height, width, channels } = frameSizes(frame);
  const pixels = (end - first) * height * width;
  const result = hostAllocate([channels, pixels]);
  const [from, to] = [hostFloats(frame), hostFloats(result)];
  let pixel = 0;
  for (let image = first; image < end; image++) {
    for (let row = 0; row < height; row++, pixel += width) {
      const start = ((image * (height + 2) + row + 1) * (width + 2) + 1) * channels;
      for (let c = 0; c < channels; c++) {
        const o = c * pixels + pixel;
        for (let column = 0; column < width; column++) {
          to[o + column] = from[start + column * channels + c]!;
        }
      }
    }
  }
  return result;
}

/** The gradient of a stage's input, `[batch, height, width, padded(channels)]`. */
export function gradX({ dz, kernel }: GradXInputs): TensorInfo {
  const { batch, height, width } = frameSizes(dz);
  const matrix = matrixOf(kernel, true);
  const columns = matrix.shape[1]!;
  const dx = hostAllocate([batch, height, width, columns]);
  forEachPiece(dz, (first, end) => {
    const windows = windowsOf(dz, first, end);
    const product = hostProduct(windows, matrix);
    hostFloats(dx).set(hostFloats(product), first * height * width * columns);
    dispose(windows, product);
  });
  dispose(matrix);
  return dx;
}
