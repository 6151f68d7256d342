/** Rectangles drawn by area and aspect, as random crops and random erasing have them. */
import type { Draw } from "./augmentation.ts";

/** Draws that {@linkcode drawRectangle} may take. */
export const RECTANGLE_DRAWS = 20;

/** What a rectangle may be. */
export interface RectangleRange {
  /** Share of the image's area. */
  area: readonly [least: number, most: number];
  /** The larger of the two aspects; the other is one over it. */
  aspect: number;
}

/**
 * Two sides in shares of a square image's side: the area uniform, the logarithm of their ratio
 * uniform. Drawn anew where it does not fit, up to ten times in all; then null.
 * @param fits whether such sides may be
 */
export function drawRectangle(
  draw: Draw,
  { area: [least, most], aspect }: RectangleRange,
  fits: (first: number, second: number) => boolean,
): [first: number, second: number] | null {
  for (let n = 0; n < RECTANGLE_DRAWS; n += 2) {
    const area = least + draw(n) * (most - least);
    const ratio = aspect ** (2 * draw(n + 1) - 1);
    const sides: [number, number] = [Math.sqrt(area * ratio), Math.sqrt(area / ratio)];
    if (fits(...sides)) return sides;
  }
  return null;
}
