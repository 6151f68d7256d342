import { streams } from "../random.ts";
import type { MapAugmentation } from "./augmentation.ts";
import { drawRectangle, RECTANGLE_DRAWS } from "./rectangle.ts";

/**
 * RandomResizedCrop (Szegedy et al. 2015, "Going deeper with convolutions"): a part of the picture of
 * a drawn area and shape, enlarged to the whole. Its edges are not rounded to pixels.
 */
export const resizedcrop: MapAugmentation = {
  kind: "map",
  description:
    "enlarge a part of at least that share of the area; 0.08 for ImageNet's, 0.5 for small pictures",
  parameters: [{ name: "least area", min: 0.01, max: 1 }],
  draws: {
    stream: streams.resizedcrop,
    ofImage: RECTANGLE_DRAWS + 2,
    first: 0,
    count: RECTANGLE_DRAWS + 2,
  },
  map: (draw, [least], size) => {
    const range = { area: [least!, 1], aspect: 4 / 3 } as const;
    const [width, height] = drawRectangle(draw, range, (a, b) => a <= 1 && b <= 1) ?? [1, 1];
    const shift = (side: number, n: number) =>
      (draw(RECTANGLE_DRAWS + n) - 0.5) * (1 - side) * size;
    return { linear: [width, 0, 0, height], shift: [shift(width, 0), shift(height, 1)] };
  },
};
