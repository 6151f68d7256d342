import { streams } from "../random.ts";
import { type MapAugmentation, sharedDraws } from "./augmentation.ts";

/** RandomZoom of Keras with height and width drawn apart. */
export const zoom: MapAugmentation = {
  kind: "map",
  description: "scale height and width apart, by up to a share either way; where distances differ",
  parameters: [{ name: "largest share", min: 0, max: 0.999 }],
  draws: { ...sharedDraws, stream: streams.augment, first: 2, count: 2 },
  map: (draw, values) => {
    const height = 1 + (2 * draw(0) - 1) * values[0]!;
    const width = 1 + (2 * draw(1) - 1) * values[0]!;
    return { linear: [width, 0, 0, height] };
  },
};
