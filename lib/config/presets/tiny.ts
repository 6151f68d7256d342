/**
 * Small enough for a processor.
 *
 * Measured on CIFAR-100: 25.5 % val_accuracy, 25.3 % test top-1, 55.9 % test top-5 after 3 epochs in
 * 6.5 minutes on two processor cores (software WebGPU): `deno task train --preset tiny --epochs 3`.
 * On `shapes`: 34.2 % val_accuracy after its 5 epochs in 2 minutes, likewise:
 * `deno task train --preset tiny --dataset shapes`.
 */
import type { RunConfig } from "../groups.ts";
import { kerasCifar100 } from "./keras_cifar100.ts";

/** 147,748 parameters, 64 tokens. */
export const tiny: RunConfig = {
  ...kerasCifar100,
  imageSize: 32,
  patchSize: 4,
  keyDim: 16,
  transformerLayers: 4,
  mlpHeadUnits: [],
  pooling: "mean",
  headDropout: 0,
  batchSize: 128,
  epochs: 5,
};
