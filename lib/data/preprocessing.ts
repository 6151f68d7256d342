/** Preparation of stored bytes as model input, as checkpoints and exported models keep it. */
import { z } from "../deps.ts";
import { fits } from "./image/fit.ts";
import { resamplings } from "./image/resize.ts";

/**
 * The form in which files have it; {@linkcode preprocessingFault} looks at the values.
 */
export const preprocessingSchema = z.strictObject({
  /** Of a stored image, in pixels. */
  height: z.int().min(1),
  width: z.int().min(1),
  /** Bytes of a pixel. */
  channels: z.int().min(1),
  /**
   * Mean of each channel over the train images, or that of pretrained weights, pixel values 0..255: an
   * input is (pixel - mean) / sqrt(variance).
   */
  mean: z.array(z.number()),
  /** Variance of each channel, likewise. */
  variance: z.array(z.number()),
  /** How a picture of another shape becomes one of that size; where it is absent, by squashing. */
  fit: z.enum(fits).optional(),
  /** By which filter that is done; bilinear where it is absent. */
  resample: z.enum(resamplings).optional(),
  /** The share of the resized picture's side that is kept, its middle; all where it is absent. */
  cropShare: z.number().positive().max(1).optional(),
});

/** @internal */
type Schema = typeof preprocessingSchema;

/** Preparation of stored bytes as model input: normalized, then resized bilinearly to imageSize. */
export type Preprocessing = z.infer<Schema>;

/**
 * The longest side of a stored image, in pixels: larger ones take too much memory to be resized.
 */
const maxSide = 4096;
/** The variance of values of which half are 0 and half are 255. */
const maxVariance = 127.5 ** 2;

/** Fault that no images can have, in words such as `preprocessing.mean holds -1, but …`. */
export function preprocessingFault(preprocessing: Preprocessing): string | undefined {
  const { channels, mean, variance } = preprocessing;
  for (const side of ["height", "width"] as const) {
    if (preprocessing[side] <= maxSide) continue;
    return `preprocessing.${side} is ${preprocessing[side]}, but an image has at most ${maxSide} ` +
      `pixels a side`;
  }
  const ranges = { mean: [mean, 255], variance: [variance, maxVariance] } as const;
  for (const [field, [values, most]] of Object.entries(ranges)) {
    if (values.length !== channels) {
      return `preprocessing.${field} has ${values.length} entries, but channels is ${channels}`;
    }
    // A little more, for rounding.
    const wrong = values.find((value) => !(value >= 0 && value <= most * (1 + 1e-9)));
    if (wrong === undefined) continue;
    return `preprocessing.${field} holds ${wrong}, but of pixels 0 to 255 it is 0 to ${most}`;
  }
}
