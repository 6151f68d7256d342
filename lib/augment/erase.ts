import { streams } from "../random.ts";
import type { EraseAugmentation } from "./augmentation.ts";
import { drawRectangle, RECTANGLE_DRAWS } from "./rectangle.ts";

/** Random erasing (Zhong et al. 2017) with timm's areas and shapes, filled with the channels' mean. */
export const erase: EraseAugmentation = {
  kind: "erase",
  description:
    "fill a rectangle of 2 to 33 % of the picture with the mean, in that share of images; where things are seen in part",
  parameters: [{ name: "share of the images", min: 0, max: 1 }],
  draws: {
    stream: streams.erase,
    ofImage: RECTANGLE_DRAWS + 3,
    first: 0,
    count: RECTANGLE_DRAWS + 3,
  },
  box: (draw, [share], size) => {
    if (draw(0) >= share!) return null;
    const pixels = (side: number) => Math.round(side * size);
    const range = { area: [0.02, 1 / 3], aspect: 1 / 0.3 } as const;
    const sides = drawRectangle(
      (n) => draw(n + 1),
      range,
      (a, b) => pixels(a) < size && pixels(b) < size,
    );
    if (!sides) return null;
    const [height, width] = sides.map(pixels) as [number, number];
    const start = (side: number, n: number) =>
      Math.floor(draw(1 + RECTANGLE_DRAWS + n) * (size - side + 1));
    const [top, left] = [start(height, 0), start(width, 1)];
    return [top, left, top + height, left + width];
  },
};
