/** The augmentations by name, as lists of them have it. */
import type { Augmentation } from "./augmentation.ts";
import { crop } from "./crop.ts";
import { cutmix } from "./cutmix.ts";
import { erase } from "./erase.ts";
import { flip } from "./flip.ts";
import { jitter } from "./jitter.ts";
import { mixup } from "./mixup.ts";
import { randaugment } from "./randaugment.ts";
import { resizedcrop } from "./resizedcrop.ts";
import { rotation } from "./rotation.ts";
import { trivialaugment } from "./trivialaugment.ts";
import { zoom } from "./zoom.ts";

/**
 * The augmentations by name. A new one takes a stream of its own: whoever leaves it off then has
 * the numbers that he had before.
 */
export const augmentations = {
  flip,
  crop,
  resizedcrop,
  rotation,
  zoom,
  randaugment,
  trivialaugment,
  jitter,
  erase,
  mixup,
  cutmix,
} satisfies Record<string, Augmentation>;
