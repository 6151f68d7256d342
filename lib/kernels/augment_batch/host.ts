/** The host form of augment_batch.ts. */
import { hostAllocate, hostFloats, hostInts } from "../../backend/host.ts";
import type { TensorInfo } from "../../tfjs.ts";
import { type AugmentBatch, type AugmentOptions, inverseDeviations } from "./options.ts";

/** The batch on a host. */
export function hostAugment({ shards, indices, transforms, options }: AugmentBatch): TensorInfo {
  const { channels, size } = options;
  const output = hostAllocate([indices.shape[0]!, size, size, channels]);
  augmentInto(hostFloats(output), {
    shards: shards.map(hostInts),
    indices: hostInts(indices),
    maps: transforms && hostFloats(transforms),
    words: shards[0]!.shape[1]!,
  }, options);
  return output;
}

/** The inputs of the kernel as arrays. */
export interface AugmentArrays {
  /** Packed images; all but the last of equal rows. */
  shards: Int32Array[];
  indices: Int32Array;
  /** An affine map for each image, `[batch, 6]`. */
  maps?: Float32Array;
  /** Of an image. */
  words: number;
}

/**
 * Writes a batch: each image is resized into a scratch array, which is then sampled.
 * @throws {RangeError} for an image that is not there
 */
export function augmentInto(
  to: Float32Array,
  { shards, indices: wanted, maps, words }: AugmentArrays,
  { height, width, channels, size, mean, variance }: AugmentOptions,
): void {
  const batch = wanted.length;
  const rows = shards[0]!.length / words;
  const count = (shards.length - 1) * rows + shards.at(-1)!.length / words;
  for (const index of wanted) {
    if (!(index >= 0 && index < count)) throw new RangeError(`There is no image ${index}.`);
  }
  const bytes = shards.map(({ buffer, byteOffset, byteLength }) => {
    return new Uint8Array(buffer, byteOffset, byteLength);
  });
  const stride = words * 4;
  const rowTaps = tapsOf(height, size, width * channels);
  const columnTaps = tapsOf(width, size, channels);
  const scratch = new Float32Array(size * size * channels);
  const inverse = inverseDeviations(variance);
  for (let n = 0; n < batch; n++) {
    const index = wanted[n]!;
    const shard = bytes[Math.floor(index / rows)]!;
    const first = (index % rows) * stride;
    resize(shard, first, channels, rowTaps, columnTaps, scratch);
    for (let i = 0; i < scratch.length; i += channels) {
      for (let c = 0; c < channels; c++) {
        scratch[i + c] = (scratch[i + c]! - mean[c]!) * inverse[c]!;
      }
    }
    const start = n * scratch.length;
    const map = maps?.subarray(n * 6, n * 6 + 6);
    if (!map || isIdentity(map)) to.set(scratch, start);
    else sample(scratch, size, channels, map, to, start);
  }
}

/** For each output position the two stored ones, as offsets, and the second's share. */
interface Taps {
  low: Int32Array;
  high: Int32Array;
  share: Float64Array;
}

function tapsOf(length: number, size: number, stride: number): Taps {
  const taps = {
    low: new Int32Array(size),
    high: new Int32Array(size),
    share: new Float64Array(size),
  };
  for (let i = 0; i < size; i++) {
    const at = (i + 0.5) * (length / size) - 0.5;
    const low = Math.floor(at);
    taps.low[i] = Math.max(low, 0) * stride;
    taps.high[i] = Math.min(low + 1, length - 1) * stride;
    taps.share[i] = at - low;
  }
  return taps;
}

function resize(
  bytes: Uint8Array,
  first: number,
  channels: number,
  rows: Taps,
  columns: Taps,
  to: Float32Array,
): void {
  const size = rows.low.length;
  let place = 0;
  for (let y = 0; y < size; y++) {
    const above = first + rows.low[y]!;
    const below = first + rows.high[y]!;
    const down = rows.share[y]!;
    for (let x = 0; x < size; x++) {
      const left = columns.low[x]!;
      const right = columns.high[x]!;
      const across = columns.share[x]!;
      for (let c = 0; c < channels; c++) {
        const a = bytes[above + left + c]!;
        const b = bytes[below + left + c]!;
        const top = a + across * (bytes[above + right + c]! - a);
        const bottom = b + across * (bytes[below + right + c]! - b);
        to[place++] = top + down * (bottom - top);
      }
    }
  }
}

function isIdentity(t: Float32Array): boolean {
  return t[0] === 1 && t[1] === 0 && t[2] === 0 && t[3] === 0 && t[4] === 1 && t[5] === 0;
}

function reflectIndex(i: number, size: number): number {
  const period = 2 * size;
  const folded = ((i % period) + period) % period;
  return folded < size ? folded : period - 1 - folded;
}

function sample(
  from: Float32Array,
  size: number,
  channels: number,
  t: Float32Array,
  to: Float32Array,
  start: number,
): void {
  const [t0, t1, t2, t3, t4, t5] = t as unknown as [number, number, number, number, number, number];
  let place = start;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const atX = t0 * x + t1 * y + t2;
      const atY = t3 * x + t4 * y + t5;
      const lowX = Math.floor(atX);
      const lowY = Math.floor(atY);
      const across = atX - lowX;
      const down = atY - lowY;
      const left = reflectIndex(lowX, size) * channels;
      const right = reflectIndex(lowX + 1, size) * channels;
      const above = reflectIndex(lowY, size) * size * channels;
      const below = reflectIndex(lowY + 1, size) * size * channels;
      for (let c = 0; c < channels; c++) {
        const a = from[above + left + c]!;
        const b = from[below + left + c]!;
        const top = a + across * (from[above + right + c]! - a);
        const bottom = b + across * (from[below + right + c]! - b);
        to[place++] = top + down * (bottom - top);
      }
    }
  }
}
