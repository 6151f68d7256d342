import { streams } from "../random.ts";
import type { MapAugmentation } from "./augmentation.ts";

/**
 * Random crop of an image padded on all sides, as the picture shifted by whole pixels. The padding
 * mirrors the picture, as every augmentation here fills what lies outside.
 */
export const crop: MapAugmentation = {
  kind: "map",
  description:
    "pad by so many pixels of the model's input, then cut out at random; 4 for 32 pixels",
  parameters: [{ name: "padding", min: 0, max: 512, whole: true }],
  draws: { stream: streams.crop, ofImage: 2, first: 0, count: 2 },
  map: (draw, [padding]) => {
    const pixels = (n: number) => Math.floor(draw(n) * (2 * padding! + 1)) - padding!;
    return { linear: [1, 0, 0, 1], shift: [pixels(0), pixels(1)] };
  },
};
