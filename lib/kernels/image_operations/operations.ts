/** The operations of image_operations.ts, and the numbers by which a device is told of them. */

/**
 * The operations, as torchvision's `transforms.functional` has them on uint8; the place of each is
 * its number. Those from the second to `brightness` are a table of grey levels for each channel.
 */
export const operations = [
  "identity",
  "autocontrast",
  "equalize",
  "invert",
  "posterize",
  "solarize",
  "contrast",
  "brightness",
  "color",
  "sharpness",
  "rotate",
  "shear_x",
  "shear_y",
  "translate_x",
  "translate_y",
] as const;

/** The name of an operation. */
export type OperationName = typeof operations[number];

/** What is done to one image. */
export interface ImageOperation {
  name: OperationName;
  /**
   * How much: `brightness`, `color` (saturation), `contrast` and `sharpness` take a factor, 1 for no
   * change; `posterize` the bits that are kept, 0 to 8; `solarize` the least grey level that is
   * inverted; `rotate` degrees, counter-clockwise; `shear_x` and `shear_y` the tangent of the angle;
   * `translate_x` and `translate_y` pixels to the right and down. The others take none.
   */
  magnitude?: number;
}

/** Numbers of an operation as kernels take it. */
export const OPERATION_NUMBERS = 3;

/**
 * An operation as a row of kernels' input: its number, its magnitude, and 0; for `rotate` cosine and
 * sine, which a device may have with few digits only.
 */
export function operationRow({ name, magnitude = 0 }: ImageOperation): [number, number, number] {
  const number = operations.indexOf(name);
  if (name !== "rotate") return [number, magnitude, 0];
  const angle = magnitude * Math.PI / 180;
  return [number, Math.cos(angle), Math.sin(angle)];
}

/** Grey level of what a turned, sheared or shifted image leaves bare. */
export const FILL = 128;

/** Shares of red, green and blue in grey, in ten-thousandths; as torchvision, they sum to 9999. */
export const GREY_SHARES = [2989, 5870, 1140] as const;

/**
 * Added before a blend's value is rounded down: what is a whole number but for float32's rounding, as
 * 1.4 times 45, is that number on every device.
 */
export const ROUNDING = 1 / 1024;
