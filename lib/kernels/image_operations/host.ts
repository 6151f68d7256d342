/** The host form of image_operations.ts. */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import type { TensorInfo } from "../../tfjs.ts";
import { inverseDeviations } from "../augment_batch/options.ts";
import {
  FILL,
  GREY_SHARES,
  OPERATION_NUMBERS,
  type OperationName,
  operations as names,
  ROUNDING,
} from "./operations.ts";
import type { ImageOperations } from "./options.ts";

/** One image after another, each by the loop of its operation. */
export function hostImageOperations(
  { images, operations, erased, finish }: ImageOperations,
): TensorInfo {
  const [batch, height, width, channels] = images.shape as [number, number, number, number];
  const output = hostAllocate(images.shape);
  const [from, to] = [hostFloats(images), hostFloats(output)];
  const rows = operations && hostFloats(operations);
  const boxes = erased && hostFloats(erased);
  const size = height * width * channels;
  const inverse = inverseDeviations(finish?.variance ?? []);
  for (let n = 0; n < batch; n++) {
    const image = { height, width, channels, data: from.subarray(n * size, (n + 1) * size) };
    const made = to.subarray(n * size, (n + 1) * size);
    const [number = 0, a = 0, b = 0] = rows?.subarray(n * OPERATION_NUMBERS) ?? [];
    operate(image, names[number]!, [a, b], made);
    if (!finish) continue;
    for (let i = 0; i < size; i++) {
      made[i] = (made[i]! - finish.mean[i % channels]!) * inverse[i % channels]!;
    }
    if (!boxes) continue;
    const [top, left, bottom, right] = boxes.subarray(n * 4) as unknown as number[];
    for (let y = top!; y < bottom!; y++) {
      made.fill(0, (y * width + left!) * channels, (y * width + right!) * channels);
    }
  }
  return output;
}

interface Image {
  height: number;
  width: number;
  channels: number;
  /** `[height, width, channels]`, 0 to 255. */
  data: Float32Array;
}

function operate(
  image: Image,
  name: OperationName,
  [a, b]: [number, number],
  to: Float32Array,
): void {
  switch (name) {
    case "identity":
      return to.set(image.data);
    case "color":
      return image.channels === 3 ? color(image, a, to) : to.set(image.data);
    case "sharpness":
      return sharpness(image, a, to);
    case "rotate": {
      const [cx, cy] = [(image.width - 1) / 2, (image.height - 1) / 2];
      const right = cx - a * cx + b * cy;
      return sample(image, [a, -b, right, b, a, cy - b * cx - a * cy], to);
    }
    case "shear_x":
      return sample(image, [1, a, a / 2, 0, 1, 0], to);
    case "shear_y":
      return sample(image, [1, 0, 0, a, 1, a / 2], to);
    case "translate_x":
      return sample(image, [1, 0, -a, 0, 1, 0], to);
    case "translate_y":
      return sample(image, [1, 0, 0, 0, 1, -a], to);
    default:
      return lookUp(image, name, a, to);
  }
}

/** Whole levels: a Uint8ClampedArray would round halves to even. */
function levelsOf({ data }: Image): Uint8Array {
  const levels = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    levels[i] = Math.min(Math.max(Math.floor(data[i]! + 0.5), 0), 255);
  }
  return levels;
}

function blend(share: number, a: number, b: number): number {
  return Math.floor(Math.min(Math.max(share * a + (1 - share) * b, 0), 255) + ROUNDING);
}

/** The grey level of each pixel, rounded down; for images of no colour the mean of the channels. */
function greys(levels: Uint8Array, channels: number): Uint8Array {
  const grey = new Uint8Array(levels.length / channels);
  for (let p = 0; p < grey.length; p++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      sum += levels[p * channels + c]! * (channels === 3 ? GREY_SHARES[c]! : 1);
    }
    grey[p] = Math.floor(sum / (channels === 3 ? 10_000 : channels));
  }
  return grey;
}

type Table = (level: number) => number;

/** The operations that are a table of levels for each channel. */
function lookUp(image: Image, name: OperationName, magnitude: number, to: Float32Array): void {
  const { channels } = image;
  const levels = levelsOf(image);
  for (let c = 0; c < channels; c++) {
    const becomes = tableOf(name, magnitude, levels, channels, c);
    const table = new Float32Array(256);
    for (let level = 0; level < 256; level++) table[level] = becomes(level);
    for (let i = c; i < levels.length; i += channels) to[i] = table[levels[i]!]!;
  }
}

function tableOf(
  name: OperationName,
  magnitude: number,
  levels: Uint8Array,
  channels: number,
  channel: number,
): Table {
  switch (name) {
    case "autocontrast":
      return autocontrast(histogram(levels, channels, channel));
    case "equalize":
      return equalize(histogram(levels, channels, channel));
    case "invert":
      return (level) => 255 - level;
    case "posterize":
      return (level) => level & -(1 << (8 - magnitude));
    case "solarize":
      return (level) => level >= magnitude ? 255 - level : level;
    case "contrast": {
      const grey = greys(levels, channels);
      const mean = grey.reduce((sum, level) => sum + level, 0) / grey.length;
      return (level) => blend(magnitude, level, mean);
    }
    case "brightness":
      return (level) => blend(magnitude, level, 0);
    default:
      throw new Error(`${name} is no table of levels.`);
  }
}

function histogram(levels: Uint8Array, channels: number, channel: number): Uint32Array {
  const counts = new Uint32Array(256);
  for (let i = channel; i < levels.length; i += channels) counts[levels[i]!]!++;
  return counts;
}

function autocontrast(counts: Uint32Array): Table {
  const low = counts.findIndex((count) => count > 0);
  const high = counts.findLastIndex((count) => count > 0);
  if (low === high) return (level) => level;
  return (level) => {
    return Math.floor(255 * (Math.min(Math.max(level, low), high) - low) / (high - low));
  };
}

function equalize(counts: Uint32Array): Table {
  const total = counts.reduce((a, b) => a + b);
  const step = Math.floor((total - counts.findLast((count) => count > 0)!) / 255);
  if (step === 0) return (level) => level;
  const below = new Uint32Array(256);
  for (let level = 1; level < 256; level++) below[level] = below[level - 1]! + counts[level - 1]!;
  return (level) => Math.min(255, Math.floor((below[level]! + Math.floor(step / 2)) / step));
}

function color(image: Image, factor: number, to: Float32Array): void {
  const levels = levelsOf(image);
  const grey = greys(levels, 3);
  for (let i = 0; i < to.length; i++) {
    to[i] = blend(factor, levels[i]!, grey[Math.floor(i / 3)]!);
  }
}

/** Blends with the mean of nine pixels of which the middle counts five times; edges stay. */
function sharpness(image: Image, factor: number, to: Float32Array): void {
  const { height, width, channels } = image;
  const levels = levelsOf(image);
  const row = width * channels;
  to.set(levels);
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * row + channels; i < (y + 1) * row - channels; i++) {
      let sum = 4 * levels[i]!;
      for (let at = i - row; at <= i + row; at += row) {
        sum += levels[at - channels]! + levels[at]! + levels[at + channels]!;
      }
      to[i] = blend(factor, levels[i]!, Math.floor((2 * sum + 13) / 26));
    }
  }
}

/**
 * Samples bilinearly at `(t0 x + t1 y + t2, t3 x + t4 y + t5)` for pixel (x, y). A point that the
 * image covers in part has that part darkened by what is missing before the fill is mixed in: so does
 * torchvision, which samples zeros outside and then blends by coverage.
 */
function sample(image: Image, t: readonly number[], to: Float32Array): void {
  const { height, width, channels, data } = image;
  const [t0, t1, t2, t3, t4, t5] = t as [number, number, number, number, number, number];
  const weights = new Float64Array(4);
  const places = new Int32Array(4);
  let place = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const atX = t0 * x + t1 * y + t2;
      const atY = t3 * x + t4 * y + t5;
      const [lowX, lowY] = [Math.floor(atX), Math.floor(atY)];
      let covered = 0;
      for (let corner = 0; corner < 4; corner++) {
        const [cx, cy] = [lowX + (corner & 1), lowY + (corner >> 1)];
        const isInside = cx >= 0 && cx < width && cy >= 0 && cy < height;
        const weight = isInside ? (1 - Math.abs(atX - cx)) * (1 - Math.abs(atY - cy)) : 0;
        weights[corner] = weight;
        places[corner] = isInside ? (cy * width + cx) * channels : 0;
        covered += weight;
      }
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let corner = 0; corner < 4; corner++) {
          sum += weights[corner]! * data[places[corner]! + c]!;
        }
        to[place++] = covered * sum + (1 - covered) * FILL;
      }
    }
  }
}
