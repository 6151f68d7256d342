/** The fields that decide which images are trained on, and how many at a time. */
import { z } from "../deps.ts";
import { datasetNames, labelKinds } from "../data/sources.ts";
import { count, rate } from "./fields.ts";

/** Each field of the input. */
export const inputFields = {
  dataset: z.enum(datasetNames).describe(
    "which data set; shapes is generated, for a first try without a download",
  ),
  labels: z.enum(labelKinds).describe(
    "which labels of CIFAR-100: 100 fine classes or 20 coarse ones",
  ),
  limit: z.int().min(0).describe(
    "use only the first N records of each split, for a quick try; 0 means all",
  ),
  validationSplit: rate.describe(
    "share of the train records, from their end, held out; 0 trains on all and keeps the newest weights",
  ),
  batchSize: count.max(2 ** 20).describe(
    "images a step; fewer where the device's memory is short",
  ),
};
