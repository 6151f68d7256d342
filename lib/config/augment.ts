/** The fields that decide how training images are varied. */
import { z } from "../deps.ts";
import { younger } from "./fields.ts";

/** Each field of the augmentation. */
export const augmentFields = {
  flip: z.boolean().describe(
    "augmentation: mirror half of the images; false where left and right differ, as for digits",
  ),
  rotation: z.number().min(0).max(1).describe(
    "augmentation: largest rotation either way, as a fraction of a full turn; 0 for none",
  ),
  zoom: z.number().min(0).lt(1).describe(
    "augmentation: largest zoom either way, height and width independent; 0 for none",
  ),
  augment: younger(z.string().max(1000), "").describe(
    "augmentations in their order, instead of flip, rotation and zoom: a list like " +
      "flip|crop(4), or none",
  ),
  mixEpochs: younger(z.int().min(0).max(1e6), 0).describe(
    "epochs after which mixup and cutmix stop; 0 means never; rather below epochs where the last " +
      "ones should learn from whole images",
  ),
};
