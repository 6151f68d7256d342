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
    "how the learning rate goes from step to step",
  ),
};
