import type { ImageOperation } from "../kernels/image_operations/operations.ts";
import { streams } from "../random.ts";
import type { OperationAugmentation } from "./augmentation.ts";

const names = ["brightness", "contrast", "color"] as const;

/** ColorJitter of torchvision without hue: each factor within its share of 1, in an order drawn. */
export const jitter: OperationAugmentation = {
  kind: "operation",
  description:
    "vary brightness, contrast and saturation by up to a share either way; not where colour is the class",
  parameters: ["brightness", "contrast", "saturation"].map((name) => ({ name, min: 0, max: 1 })),
  draws: { stream: streams.jitter, ofImage: 4, first: 0, count: 4 },
  rounds: (shares) => shares.filter((share) => share > 0).length,
  operations: (draw, shares) => {
    const left = names.map((name, n): ImageOperation => {
      return { name, magnitude: 1 + (2 * draw(n) - 1) * shares[n]! };
    }).filter((_, n) => shares[n]! > 0);
    // The order is one number: each digit says which of those left comes next.
    const ordered: ImageOperation[] = [];
    for (let digits = draw(3); left.length > 0;) {
      digits *= left.length;
      const next = Math.floor(digits);
      digits -= next;
      ordered.push(...left.splice(next, 1));
    }
    return ordered;
  },
};
