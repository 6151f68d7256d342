/** The fields that decide how long is trained, in which order, and at what rate when. */
import { z } from "../deps.ts";
import { type ScheduleName, schedules } from "../optim/schedules.ts";
import { count, younger } from "./fields.ts";

/** Each field of the schedule. */
export const scheduleFields = {
  epochs: count.max(1e6).describe("passes over the training images"),
  seed: z.int().min(0).max(2 ** 31 - 1).describe(
    "the one source of all randomness; another one tells luck from progress",
  ),
  schedule: younger(z.enum(Object.keys(schedules) as [ScheduleName]), "constant").describe(
    "how the learning rate goes from its peak, learningRate, to its floor; cosine and linear end " +
      "with the last epoch and gain some points over constant, which can be trained on for longer",
  ),
  warmupEpochs: younger(z.number().min(0).max(1e6), 0).describe(
    "epochs, or a part of one, in which the rate rises to its peak; a tenth of the run is usual, " +
      "and what a rate of 1e-3 and more needs",
  ),
  learningRateFloor: younger(z.number().min(0), 0).describe(
    "rate that cosine and linear go to; 0, or a hundredth of the peak so that the last epoch learns",
  ),
  patience: younger(z.int().min(0).max(1e6), 0).describe(
    "end the run after so many epochs without a better val_accuracy; 0 means never; rather 0 with " +
      "cosine and linear, whose last epochs are the best",
  ),
};
