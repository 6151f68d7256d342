/**
 * Fine-tuning of a pretrained Vision Transformer on a small data set: `--init-from` brings the model and
 * the preparation of its images along, and this the recipe.
 *
 * A low rate that falls to 0, lower still towards the input (Clark et al., 2020; Bao et al., 2021),
 * and a higher one for the classifier, which is new. `deno task train --preset finetune --init-from PATH
 * --dataset folder:photos`. What it reaches depends on the weights; no pretrained ones were at hand here,
 * so docs/finetuning.md has what weights made here reached.
 */
import type { RunConfig } from "../groups.ts";
import { kerasCifar100 } from "./keras_cifar100.ts";

/** Without `--init-from`, a ViT-Ti/16 of random weights: 5,543,716 parameters, 197 tokens. */
export const finetune: RunConfig = {
  ...kerasCifar100,
  imageSize: 224,
  patchSize: 16,
  projectionDim: 192,
  numHeads: 3,
  keyDim: 64,
  transformerLayers: 12,
  transformerUnits: [768, 192],
  mlpLastActivation: false,
  mlpHeadUnits: [],
  pooling: "token",
  initializer: "truncatedNormal",
  ...{ attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
  batchSize: 32,
  epochs: 10,
  ...{ schedule: "cosine", warmupEpochs: 1 },
  ...{ flip: false, rotation: 0, zoom: 0, augment: "flip|resizedcrop(0.5)" },
  labelSmoothing: 0.1,
  learningRate: 2e-4,
  layerDecay: 0.75,
  headRate: 10,
  weightDecay: 0.05,
  decayConvention: "keras",
  decayExclude: [
    "bias",
    "gamma",
    "beta",
    "position_embedding",
    "class_token",
    "distillation_token",
  ],
  clipNorm: 1,
};
