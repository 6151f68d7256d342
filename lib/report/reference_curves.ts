/** Published and measured curves of presets, to be drawn beside a run's own. */
import { type PresetName, presets, type RunConfig } from "../config/run.ts";

/** Epochs of another implementation with the same recipe. */
export interface ReferenceCurve {
  /** Who reached it, for people. */
  readonly name: string;
  readonly epochs: readonly {
    /** From 1. */
    readonly epoch: number;
    readonly loss?: number;
    readonly accuracy?: number;
    readonly valLoss?: number;
    readonly valAccuracy?: number;
    readonly valTop5?: number;
  }[];
}

/** By preset; what stands here is also in docs/correctness.md and on the page of the Keras example. */
const curves: Partial<Record<PresetName, ReferenceCurve>> = {
  "keras-cifar100": {
    name: "Keras example",
    epochs: [
      {
        epoch: 1,
        loss: 4.8863,
        accuracy: 0.0294,
        valLoss: 3.9661,
        valAccuracy: 0.0992,
        valTop5: 0.3056,
      },
      { epoch: 10, valAccuracy: 0.3494 },
      { epoch: 100, valAccuracy: 0.5428 },
    ],
  },
  tiny: {
    name: "PyTorch, same recipe",
    epochs: [
      { epoch: 1, loss: 3.9939, valLoss: 3.653, valAccuracy: 0.1343, valTop5: 0.3671 },
      { epoch: 2, loss: 3.4572, valLoss: 3.2686, valAccuracy: 0.2036, valTop5: 0.4876 },
      { epoch: 3, loss: 3.1496, valLoss: 3.0265, valAccuracy: 0.2426, valTop5: 0.5509 },
    ],
  },
};

/** Fields that do not make another recipe of a preset. */
const free: readonly (keyof RunConfig)[] = ["epochs", "seed", "patience"];

/** The curve of the preset that a configuration is of; undefined where there is none. */
export function referenceCurve(config: RunConfig): ReferenceCurve | undefined {
  const name = (Object.keys(presets) as PresetName[]).find((name) => {
    const preset: RunConfig = presets[name];
    return (Object.keys(preset) as (keyof RunConfig)[]).every((key) =>
      free.includes(key) || JSON.stringify(preset[key]) === JSON.stringify(config[key])
    );
  });
  return name && curves[name];
}
