/** The fields that decide which images are trained on, and how many at a time. */
import { z } from "../deps.ts";
import { fits } from "../data/image/fit.ts";
import { resamplings } from "../data/image/resize.ts";
import {
  datasetNames,
  type DatasetWord,
  datasetWords,
  labelKinds,
  pictureSources,
} from "../data/sources.ts";
import { count, rate, younger } from "./fields.ts";

const kinds = Object.keys(pictureSources).join("|");
const datasetPattern = new RegExp(`^(${datasetNames.join("|")}|(${kinds}):[^]+)$`);

/** A number of pixels whose values are 0 to 1. */
const share = z.number().min(0).max(1);

/** Each field of the input. */
export const inputFields = {
  // In the types there are only such words.
  dataset: (z.string().max(4096).regex(datasetPattern) as z.ZodType<DatasetWord, DatasetWord>)
    .meta({ words: datasetWords })
    .describe(
      `which data set: ${
        datasetWords.join(", ")
      }; shapes is generated, for a first try without a ` +
        "download, a PATH is that of your own pictures, one folder a class",
    ),
  labels: z.enum(labelKinds).describe(
    "which labels of CIFAR-100: 100 fine classes or 20 coarse ones",
  ),
  limit: z.int().min(0).describe(
    "use only the first N records of each split, for a quick try; 0 means all",
  ),
  validationSplit: rate.describe(
    "share of the train records held out: from their end, of your own pictures from each class; " +
      "0 trains on all and keeps the newest weights",
  ),
  batchSize: count.max(2 ** 20).describe(
    "images a step; fewer, or accumulate, where the device's memory is short",
  ),
  accumulate: younger(count.max(2 ** 20), 1).describe(
    "parts that a step takes its batch in, one after another, with the gradients summed: an nth of " +
      "the memory for the same numbers, but for dropout, whose masks are other ones",
  ),
  testSplit: younger(rate, 0.1).describe(
    "share of each class that is kept for the test, where your own pictures have no test/",
  ),
  storedSize: younger(z.int().min(0).max(4096), 0).describe(
    "side at which your own pictures are stored; 0: imageSize, and for crop a quarter more",
  ),
  fit: younger(z.enum(fits), "crop").describe(
    "how your own pictures become squares: their middle, or all of them out of shape",
  ),
  resample: younger(z.enum(resamplings), "bilinear").describe(
    "filter by which your own pictures are resized, antialiased; with --init-from that of the weights",
  ),
  cropShare: younger(z.number().positive().max(1), 1).describe(
    "share of your own pictures' side that is kept once they are resized, their middle; with " +
      "--init-from that of the weights",
  ),
  channelMean: younger(z.array(share).max(4), []).describe(
    "mean of each channel, of values 0 to 1; none: that of the train images; with --init-from that " +
      "of the weights",
  ),
  channelDeviation: younger(z.array(share).max(4), []).describe(
    "standard deviation of each channel, likewise; comes with channelMean",
  ),
};
