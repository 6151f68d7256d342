import { streams } from "../random.ts";
import type { OperationAugmentation } from "./augmentation.ts";
import { drawnOperations, MOST, operationAt } from "./magnitudes.ts";

const MOST_OPERATIONS = 8;

/** RandAugment (Cubuk et al. 2019) with the operations and the 31 magnitudes of torchvision. */
export const randaugment: OperationAugmentation = {
  kind: "operation",
  description:
    "so many of 14 operations on each image, all of one magnitude; 2 of magnitude 9 are torchvision's default",
  parameters: [
    { name: "operations", min: 1, max: MOST_OPERATIONS, whole: true },
    { name: "magnitude", min: 0, max: MOST, whole: true },
  ],
  draws: {
    stream: streams.randaugment,
    ofImage: 2 * MOST_OPERATIONS,
    first: 0,
    count: 2 * MOST_OPERATIONS,
  },
  rounds: ([operations]) => operations!,
  operations: (draw, [operations, magnitude], size) =>
    Array.from({ length: operations! }, (_, round) => {
      const name = drawnOperations[Math.floor(draw(2 * round) * drawnOperations.length)]!;
      const sign = draw(2 * round + 1) < 0.5 ? -1 : 1;
      return operationAt(name, magnitude!, sign, {
        ...{ shear: 0.3, translate: size * 150 / 331, rotate: 30, blend: 0.9, posterize: 4 },
      });
    }),
};
