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
  let xx = 1, xy = 0, yx = 0, yy = 1;
  let right = 0, down = 0;
  // By index, here and in the maps: patterns of arrays made drawing a batch's maps twice as slow.
  for (let i = 0; i < maps.length; i++) {
    const { linear, shift } = maps[i]!;
    if (shift) {
      right += xx * shift[0] + xy * shift[1];
      down += yx * shift[0] + yy * shift[1];
    }
    const a = linear[0], b = linear[1], c = linear[2], d = linear[3];
    const nextXx = xx * a + xy * c;
    const nextYx = yx * a + yy * c;
    xy = xx * b + xy * d;
    yy = yx * b + yy * d;
    xx = nextXx;
    yx = nextYx;
  }
  const centre = (size - 1) / 2;
  const x = centre - (xx + xy) * centre + right;
  const y = centre - (yx + yy) * centre + down;
  return [xx, xy, x, yx, yy, y];
}
