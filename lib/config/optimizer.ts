/** The fields of AdamW. */
import { z } from "../deps.ts";
import { precisions } from "../backend/precision.ts";
import { rate, younger } from "./fields.ts";

const positive = z.number().positive();
const freezePattern = /^(none|backbone|\d{1,4})$/;

/** Each field of the optimizer. */
export const optimizerFields = {
  learningRate: positive.describe(
    "step size of AdamW; 1e-3 for small models from random weights, a tenth for --init-from",
  ),
  weightDecay: z.number().min(0).max(1000).describe(
    "weight decay of AdamW; 1e-4 with tfa is about 0.1 with keras at a learning rate of 1e-3",
  ),
  decayConvention: z.enum(["tfa", "keras"]).describe(
    "tfa: var -= weightDecay * var; keras (as PyTorch): var -= learningRate * weightDecay * var",
  ),
  decayExclude: z.array(z.string().max(200)).max(100).describe(
    "variables whose name contains one of these are not decayed; bias,gamma,beta is usual",
  ),
  beta1: rate.describe("decay rate of the first moment; 0.9 is usual"),
  beta2: rate.describe("decay rate of the second moment; 0.999 is usual, 0.95 for large batches"),
  epsilon: positive.max(1).describe(
    "added to the root of the second moment; 1e-7 in Keras, 1e-8 in PyTorch",
  ),
  // With a default, so that the configurations of runs from before it are still read.
  clipNorm: z.number().min(0).max(1e30).default(0).describe(
    "largest global norm of the gradients, larger ones are scaled down to it; 0 means no " +
      "clipping, 1 is usual where the loss jumps",
  ),
  freeze: younger(
    z.string().max(20).regex(freezePattern).meta({
      words: ["none", "backbone", "a number of blocks"],
    }),
    "none",
  ).describe(
    "what stays as it is: none; backbone, all but the head; or a number, so many blocks from the " +
      "first on and what makes the tokens; costs no gradient, no moments and no backward pass",
  ),
  cacheFeatures: younger(z.boolean(), false).describe(
    "compute what is frozen once an image instead of at each step, and train what follows on these " +
      "features, which are kept in memory; wants --freeze and no augmentation",
  ),
  lora: younger(z.int().min(0).max(4096), 0).describe(
    "LoRA: rank of the two small kernels that are trained beside those of each attention's queries and " +
      "values, with the head and nothing else; 0 for none, 4 to 16 is usual",
  ),
  loraAlpha: younger(z.number().min(0).max(1e6), 0).describe(
    "alpha of LoRA: what the small kernels add is multiplied by alpha / rank; 0 for the rank",
  ),
  layerDecay: younger(positive.max(1), 1).describe(
    "layer-wise decay: factor of the learning rate from each block to the one before it; 0.65 to " +
      "0.85 with --init-from, 1 from random weights",
  ),
  headRate: younger(positive.max(1e6), 1).describe(
    "factor of the learning rate of the classifier and of what else follows the pooling; 10 where " +
      "--init-from brings a new classifier",
  ),
  ema: younger(rate, 0).describe(
    "decay of a running average of the weights (EMA), validated beside them, the better counting as " +
      "best; 0 means none; 0.99 to 0.999 lifts a constant rate most, and cosine to 0 hardly",
  ),
  precision: younger(z.enum(precisions), "f32").describe(
    "what a step's large tensors are stored as; f16 where the device's memory is short, on webgpu " +
      "and a GPU with shader-f16 alone: weights, sums and statistics stay f32",
  ),
};
