/**
 * A Vision Transformer for small images and small data sets (Lee et al., 2021: shifted patches and
 * locality self-attention), trained from random weights for 100 epochs; for a GPU.
 *
 * Aims at 74 % test top-1 on CIFAR-100 and more, which is not yet measured: nobody has trained it
 * here. `deno task train --preset strong`
 */
import type { RunConfig } from "../groups.ts";
import { kerasCifar100 } from "./keras_cifar100.ts";

/** 2,752,432 parameters, 64 tokens and the class token. */
export const strong: RunConfig = {
  ...kerasCifar100,
  imageSize: 32,
  patchSize: 4,
  tokenizer: "shifted",
  localityAttention: true,
  projectionDim: 192,
  numHeads: 12,
  keyDim: 16,
  transformerLayers: 9,
  transformerUnits: [384, 192],
  mlpLastActivation: false,
  mlpHeadUnits: [],
  pooling: "token",
  initializer: "truncatedNormal",
  ...{ attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
  dropPath: 0.1,
  labelSmoothing: 0.1,
  batchSize: 128,
  epochs: 100,
  ...{ schedule: "cosine", warmupEpochs: 10 },
  ...{ flip: false, rotation: 0, zoom: 0 },
  augment: "flip|crop(4)|randaugment(2,9)|erase(0.25)|mixup(0.8)|cutmix(1)",
  learningRate: 1e-3,
  weightDecay: 0.05,
  decayConvention: "keras",
  // Matrices alone are decayed: no positions, no class token, no temperatures.
  decayExclude: ["bias", "gamma", "beta", "position_embedding", "class_token", "attention.scale"],
};
