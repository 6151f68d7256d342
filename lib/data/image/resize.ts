import type { RgbImage } from "./rgb_image.ts";

/** How a pixel is made of those around it: the names are those of Pillow's filters. */
export const resamplings = ["bilinear", "bicubic"] as const;

/** @internal */
type Resamplings = typeof resamplings;

/** One of {@linkcode resamplings}. */
export type Resampling = Resamplings[number];

/** Options of {@linkcode resizeImage}. */
export interface ResizeOptions {
  /** `bilinear` by default. */
  resample?: Resampling;
  /**
   * Share of the resized picture's side that the result shows, its middle, above 0 and at most 1; 1,
   * the default, is all of it. 0.9 of a side of 224 pixels resizes to 248 first.
   */
  cropShare?: number;
}

/** A filter: its weight at a distance, and the distance from which on that is 0. */
const filters: Record<Resampling, { radius: number; weightAt: (x: number) => number }> = {
  bilinear: { radius: 1, weightAt: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys's cubic with -1/2, as Pillow has it.
  bicubic: {
    radius: 2,
    weightAt: (x) => {
      const t = Math.abs(x);
      if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
      return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
    },
  },
};

/**
 * Resizes to a square, each axis on its own: with half-pixel centres, and where it shrinks, the filter
 * widens by the factor, so that every pixel counts (antialiasing).
 * @param size side of the result in pixels
 *
 * @example
 * ```ts
 * import { resizeImage } from "../../../mod.ts";
 *
 * const gray = { width: 4, height: 2, channels: 3, data: new Uint8Array(24).fill(128) } as const;
 * console.log(resizeImage(gray, 32).data.length); // 3072
 * ```
 */
export function resizeImage(
  image: RgbImage,
  size: number,
  { resample = "bilinear", cropShare = 1 }: ResizeOptions = {},
): RgbImage {
  // Of what is a whole number but for rounding.
  const whole = Math.max(size, Math.floor(size / cropShare + 1e-9));
  const first = Math.round((whole - size) / 2);
  const across = taps(image.width, whole, first, size, resample);
  const down = taps(image.height, whole, first, size, resample);
  const row = size * 3;
  const out = new Uint8Array(size * row);
  // Rows of the right width, as many as an output row looks at: the windows only move down, so
  // older rows make way.
  const kept = Math.max(...down.map(({ weights }) => weights.length));
  const narrow = new Float32Array(kept * row);
  const sums = new Float64Array(row);
  let done = 0;
  for (let y = 0; y < size; y++) {
    const { first, weights } = down[y]!;
    for (; done < first + weights.length; done++) {
      if (done >= first) narrowRow(image, done, across, narrow, (done % kept) * row);
    }
    sums.fill(0);
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i]!;
      const at = ((first + i) % kept) * row;
      for (let x = 0; x < row; x++) sums[x]! += weight * narrow[at + x]!;
    }
    // By rounding, or by the negative weights of a cubic.
    for (let x = 0; x < row; x++) {
      out[y * row + x] = Math.min(255, Math.max(0, Math.round(sums[x]!)));
    }
  }
  return { width: size, height: size, channels: 3, data: out };
}

/** For an output pixel of an axis, its first input pixel and the weights from there on. */
interface Taps {
  first: number;
  weights: Float64Array;
}

/** Of `count` output pixels from `begin` on, on an axis that is resized from `from` to `to`. */
function taps(
  from: number,
  to: number,
  begin: number,
  count: number,
  resample: Resampling,
): Taps[] {
  const filter = filters[resample];
  const scale = from / to;
  const wide = Math.max(1, scale);
  const radius = filter.radius * wide;
  return Array.from({ length: count }, (_, i) => {
    const centre = (begin + i + 0.5) * scale - 0.5;
    const first = Math.max(0, Math.ceil(centre - radius));
    const last = Math.min(from - 1, Math.floor(centre + radius));
    const weights = Float64Array.from(
      { length: last - first + 1 },
      (_, k) => filter.weightAt((first + k - centre) / wide),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Writes row `y` of the image, resized across, into `out` from `to` on. */
function narrowRow(
  { width, data }: RgbImage,
  y: number,
  across: Taps[],
  out: Float32Array,
  to: number,
): void {
  for (const { first, weights } of across) {
    let red = 0;
    let green = 0;
    let blue = 0;
    let at = (y * width + first) * 3;
    for (let i = 0; i < weights.length; i++, at += 3) {
      const weight = weights[i]!;
      red += weight * data[at]!;
      green += weight * data[at + 1]!;
      blue += weight * data[at + 2]!;
    }
    out[to++] = red;
    out[to++] = green;
    out[to++] = blue;
  }
}
