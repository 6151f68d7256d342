/**
 * A compact convolutional transformer (Hassani et al., 2021) for a processor: a model this small
 * underfits, so the gain comes from the convolutional tokenizer and a high learning rate, not from
 * strong augmentation.
 *
 * Measured on CIFAR-100: 59.0 % val_accuracy, 59.8 % test top-1, 86.0 % test top-5 after 22
 * epochs in 124 minutes on two processor threads (wasm): `deno task train --preset compact`. PyTorch
 * with the same model, a one-cycle schedule, label smoothing 0.1 and random crops reached 53.52 % test
 * top-1 after 12 epochs.
 */
import type { RunConfig } from "../groups.ts";
import { kerasCifar100 } from "./keras_cifar100.ts";

/** 361,893 parameters, 64 tokens. */
export const compact: RunConfig = {
  ...kerasCifar100,
  imageSize: 32,
  patchSize: 4,
  tokenizer: "conv",
  convChannels: [64, 128],
  projectionDim: 128,
  numHeads: 4,
  keyDim: 32,
  transformerLayers: 2,
  transformerUnits: [256, 128],
  mlpLastActivation: false,
  mlpHeadUnits: [],
  pooling: "sequence",
  initializer: "truncatedNormal",
  attentionDropout: 0,
  mlpDropout: 0,
  headDropout: 0,
  validationSplit: 0.04,
  batchSize: 128,
  epochs: 22,
  schedule: "cosine",
  warmupEpochs: 1.6,
  labelSmoothing: 0.1,
  clipNorm: 1,
  ...{ flip: false, rotation: 0, zoom: 0, augment: "flip|crop(4)" },
  learningRate: 2e-3,
  weightDecay: 0.05,
  decayConvention: "keras",
  // Matrices and convolutions alone are decayed.
  decayExclude: ["bias", "gamma", "beta", "position_embedding"],
};
