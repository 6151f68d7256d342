/** Affine maps of a square image, from output pixel to sampling point, about the image's centre. */

/** The sampling point of the output pixel (x, y), both from the centre: `linear @ (x, y) + shift`. */
export interface AffineMap {
  /** `[xx, xy, yx, yy]`: the point's x is `xx x + xy y`. */
  linear: readonly [number, number, number, number];
  /** Pixels right and down; none by default. */
  shift?: readonly [x: number, y: number];
}

/** Numbers of a map as kernels take it. */
export const COEFFICIENTS = 6;

/**
 * The six numbers t of maps one after another on an image of `size` pixels: output pixel (x, y) is
 * sampled at `(t0 x + t1 y + t2, t3 x + t4 y + t5)`. The first map is the first that changes the
 * picture, so it is the last that a sampling point goes through.
 */
export function composed(maps: readonly AffineMap[], size: number): number[] {
  let [xx, xy, yx, yy] = [1, 0, 0, 1];
  let [right, down] = [0, 0];
  for (const { linear: [a, b, c, d], shift: [x, y] = [0, 0] } of maps) {
    right += xx * x + xy * y;
    down += yx * x + yy * y;
    [xx, xy, yx, yy] = [xx * a + xy * c, xx * b + xy * d, yx * a + yy * c, yx * b + yy * d];
  }
  const centre = (size - 1) / 2;
  return [
    ...[xx, xy, centre - (xx + xy) * centre + right],
    ...[yx, yy, centre - (yx + yy) * centre + down],
  ];
}
