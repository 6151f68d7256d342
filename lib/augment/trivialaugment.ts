import { streams } from "../random.ts";
import type { OperationAugmentation } from "./augmentation.ts";
import { drawnOperations, MOST, operationAt } from "./magnitudes.ts";

/** torchvision's ranges, which are those of the paper; pixels too, whatever the image's size. */
const widest = { shear: 0.99, translate: 32, rotate: 135, blend: 0.99, posterize: 6 };

/** TrivialAugment (Müller and Hutter 2021), the wide one, as torchvision's TrivialAugmentWide. */
export const trivialaugment: OperationAugmentation = {
  kind: "operation",
  description: "one of 14 operations on each image, of any magnitude; where nothing is to be tuned",
  parameters: [],
  draws: { stream: streams.trivialaugment, ofImage: 3, first: 0, count: 3 },
  rounds: () => 1,
  operations: (draw) => {
    const name = drawnOperations[Math.floor(draw(0) * drawnOperations.length)]!;
    const magnitude = Math.floor(draw(1) * (MOST + 1));
    return [operationAt(name, magnitude, draw(2) < 0.5 ? -1 : 1, widest)];
  },
};
