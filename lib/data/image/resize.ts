import type { RgbImage } from "./rgb_image.ts";

/**
 * Resizes to a square, each axis on its own: bilinear with half-pixel centres, and where it
 * shrinks, the triangle filter widens by the factor, so that every pixel counts (antialiasing).
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
export function resizeImage(image: RgbImage, size: number): RgbImage {
  const across = taps(image.width, size);
  const down = taps(image.height, size);
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
    // Weights are positive and sum to 1, so only rounding could leave the range.
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

function taps(from: number, to: number): Taps[] {
  const scale = from / to;
  const radius = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale - 0.5;
    const first = Math.max(0, Math.ceil(centre - radius));
    const last = Math.min(from - 1, Math.floor(centre + radius));
    const weights = Float64Array.from(
      { length: last - first + 1 },
      (_, k) => Math.max(0, 1 - Math.abs(first + k - centre) / radius),
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
