import type { MixAugmentation } from "./augmentation.ts";
import { mixParameters } from "./mixing.ts";

/** mixup (Zhang et al., 2017): two pictures laid over each other, one faint. */
export const mixup: MixAugmentation = {
  kind: "mix",
  description: "lay two images over each other, and ask for both labels; alpha 0.2 to 0.8",
  parameters: mixParameters,
  mix: (share) => ({ share, box: [0, 0, 0, 0] }),
};
