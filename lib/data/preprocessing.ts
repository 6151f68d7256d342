/** What turns stored bytes into model input, as checkpoints and exported models keep it. */
import { z } from "../deps.ts";

const side = z.int().min(1).max(2 ** 14);
/** The greatest variance of bytes, half of them 0 and half 255, and something for rounding. */
const mostVariance = 127.5 ** 2 + 1;

/** The form in which files have it. */
export const preprocessingSchema = z.strictObject({
  /** Of a stored image, in pixels. */
  height: side,
  width: side,
  /** Bytes of a pixel. */
  channels: z.int().min(1).max(4),
  /**
   * Mean of each channel over the train images, pixel values 0..255: an input is
   * (pixel - mean) / sqrt(variance).
   */
  mean: z.array(z.number().min(0).max(255)),
  /** Variance of each channel over the train images. */
  variance: z.array(z.number().min(0).max(mostVariance)),
}).refine(({ channels, mean, variance }) =>
  mean.length === channels && variance.length === channels
);

/** What turns stored bytes into model input: normalized, then resized bilinearly to imageSize. */
export type Preprocessing = z.infer<typeof preprocessingSchema>;
