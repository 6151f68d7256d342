/** The fields that decide which images are trained on, and how many at a time. */
import { z } from "../deps.ts";
import { datasetNames, labelKinds } from "../data/sources.ts";
import { count, rate, younger } from "./fields.ts";

/** Each field of the input. */
export const inputFields = {
  dataset: z.enum(datasetNames).describe(
    "which data set; shapes is generated, for a first try without a download",
  ),
  labels: z.enum(labelKinds).describe("which labels of CIFAR-100"),
  limit: z.int().min(0).describe("use only the first N records of each split; 0 means all"),
  validationSplit: rate.describe("share of the train records, from their end, held out"),
  batchSize: count.max(2 ** 20).describe(
    "images a step; fewer, or accumulate, where the device's memory is short",
  ),
  accumulate: younger(count.max(2 ** 20), 1).describe(
    "parts that a step takes its batch in, one after another, with the gradients summed: an nth of " +
      "the memory for the same numbers, but for dropout, whose masks are other ones",
  ),
};

/** Which images are trained on. */
export type InputConfig = z.infer<z.ZodObject<typeof inputFields>>;
