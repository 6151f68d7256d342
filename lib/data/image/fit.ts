/** Pictures of any shape to squares. */
import { resizeImage, type ResizeOptions } from "./resize.ts";
import type { RgbImage } from "./rgb_image.ts";

/**
 * How a picture becomes a square: `crop` keeps its middle (the shorter side fills the square, of the
 * longer one the ends are lost), `squash` keeps all of it, out of shape.
 */
export const fits = ["crop", "squash"] as const;

/** @internal */
type Fits = typeof fits;

/** One of {@linkcode fits}. */
export type Fit = Fits[number];

/** How pictures become squares. */
export interface PictureForm extends ResizeOptions {
  /** How a picture of another shape becomes one. */
  fit: Fit;
}

/** A form without what it has by default, so that what is known by it stays the same. */
export function shortForm({ fit, resample, cropShare }: PictureForm): PictureForm {
  return {
    fit,
    ...(resample === "bicubic" && { resample }),
    ...(cropShare !== undefined && cropShare < 1 && { cropShare }),
  };
}

/** A picture as a square of `size` pixels a side, antialiased where it shrinks. */
export function fitImage(image: RgbImage, size: number, form: PictureForm): RgbImage {
  return resizeImage(form.fit === "crop" ? centreSquare(image) : image, size, form);
}

/** The square in the middle; of two middles the upper or left one. */
function centreSquare(image: RgbImage): RgbImage {
  const { width, height, channels, data } = image;
  const side = Math.min(width, height);
  if (width === height) return image;
  const left = Math.floor((width - side) / 2);
  const top = Math.floor((height - side) / 2);
  const row = side * channels;
  const square = new Uint8Array(side * row);
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * width + left) * channels;
    square.set(data.subarray(from, from + row), y * row);
  }
  return { width: side, height: side, channels, data: square };
}
