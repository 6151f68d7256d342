/** States as a run would save them: consistent in every field, small in every tensor. */
import type { FloatTensor, TrainingState } from "../../lib/checkpoint/training_state.ts";
import { preset } from "../../lib/config/presets.ts";
import type { RunConfig } from "../../lib/config/run.ts";
import { architectureOf } from "../../lib/models/architecture.ts";
import { tinyModel } from "../models/tiny_model.ts";

/** 90 of 100 images to train on: 5 steps an epoch, the last of 10 images. */
export const stateConfig: RunConfig = {
  ...preset("tiny"),
  ...tinyModel,
  ...{ dataset: "shapes", limit: 100, validationSplit: 0.1, batchSize: 20 },
};

/** Steps of an epoch of {@linkcode stateConfig}. */
export const stepsAnEpoch = 5;

/** Every weight of {@linkcode stateConfig}, some number in [-1, 1] in each place. */
export function floats(offset: number): Map<string, FloatTensor> {
  return new Map([...architectureOf(stateConfig).weights].map(([name, shape]) => {
    const length = shape.reduce((a, b) => a * b, 1);
    return [name, { shape, data: Float32Array.from({ length }, (_, i) => Math.sin(i + offset)) }];
  }));
}

/** The state after so many steps. */
export function stateAt(step: number): TrainingState {
  const moments2 = floats(step + 2);
  for (const { data } of moments2.values()) data.forEach((value, i) => data[i] = value * value);
  const epoch = Math.floor(step / stepsAnEpoch);
  const positionInEpoch = step % stepsAnEpoch;
  const images = positionInEpoch * stateConfig.batchSize;
  return {
    ...{ weights: floats(step), moments1: floats(step + 1), moments2 },
    ...{ step, epoch, positionInEpoch, seed: stateConfig.seed },
    bestValAccuracy: epoch === 0 ? -1 : 0.2345678901234567,
    sums: { loss: 4.6 * images, top1: images / 20, top5: images / 4, images },
    config: structuredClone(stateConfig),
    dataset: { name: "shapes", identity: "ab".repeat(32), trainCount: 10_000 },
    preprocessing: {
      ...{ height: 32, width: 32, channels: 3 },
      ...{ mean: [129.3, 124.1, 112.4], variance: [4659.5, 4284.2, 4955.6] },
    },
    classNames: ["apple", "aquarium_fish"],
    versions: { "deno-vit": "0.1.0", tfjs: "4.22.0" },
    computedOn: {
      ...{ backend: "webgpu", adapter: "Card 9" },
      forms: { "attention/256x144x4x64": "workgroup" },
    },
  };
}
