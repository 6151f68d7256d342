import type { MixAugmentation } from "./augmentation.ts";
import { mixParameters } from "./mixing.ts";

/**
 * CutMix (Yun et al., 2019): a box of another picture pasted in. Its centre is any pixel, and what of
 * it lies outside is cut off, so that the box may be smaller than the share it was drawn for.
 */
export const cutmix: MixAugmentation = {
  kind: "mix",
  description: "paste a box of another image, and ask for both labels; alpha 1",
  parameters: mixParameters,
  mix: (share, draw, size) => {
    const half = Math.floor(Math.floor(size * Math.sqrt(1 - share)) / 2);
    const [x, y] = [Math.floor(draw(0) * size), Math.floor(draw(1) * size)];
    const inside = (at: number) => Math.min(Math.max(at, 0), size);
    return {
      share: 1,
      box: [inside(x - half), inside(y - half), inside(x + half), inside(y + half)],
    };
  },
};
