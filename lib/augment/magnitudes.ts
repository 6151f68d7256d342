/** The operations that RandAugment and TrivialAugment draw from, and how strong each is. */
import type { ImageOperation, OperationName } from "../kernels/image_operations/operations.ts";

/** The largest magnitude; the least is 0. */
export const MOST = 30;

/** The 14 operations of torchvision's RandAugment and TrivialAugmentWide. */
export const drawnOperations = [
  ...["identity", "autocontrast", "equalize", "rotate", "solarize", "posterize"],
  ...["color", "contrast", "brightness", "sharpness"],
  ...["shear_x", "shear_y", "translate_x", "translate_y"],
] as OperationName[];

/** What an operation is at magnitude 30. */
export interface Widest {
  /** Tangent of the angle. */
  shear: number;
  /** Pixels. */
  translate: number;
  /** Degrees. */
  rotate: number;
  /** How far the factor of colour, contrast, brightness and sharpness is from 1. */
  blend: number;
  /** Bits that are lost of 8. */
  posterize: number;
}

/**
 * An operation at a magnitude of 0 to 30, as torchvision has it: solarize from white to all, shifts
 * by whole pixels, autocontrast and equalize without magnitude.
 * @param sign which way, for those that have two
 */
export function operationAt(
  name: OperationName,
  magnitude: number,
  sign: 1 | -1,
  widest: Widest,
): ImageOperation {
  const share = magnitude / MOST;
  switch (name) {
    case "rotate":
      return { name, magnitude: sign * share * widest.rotate };
    case "shear_x":
    case "shear_y":
      return { name, magnitude: sign * share * widest.shear };
    case "translate_x":
    case "translate_y":
      return { name, magnitude: sign * Math.floor(share * widest.translate) };
    case "color":
    case "contrast":
    case "brightness":
    case "sharpness":
      return { name, magnitude: 1 + sign * share * widest.blend };
    case "posterize":
      return { name, magnitude: 8 - Math.round(share * widest.posterize) };
    case "solarize":
      return { name, magnitude: 255 * (1 - share) };
    default:
      return { name };
  }
}
