import { streams } from "../random.ts";
import { type MapAugmentation, sharedDraws } from "./augmentation.ts";

/** RandomRotation of Keras, about the image's centre. */
export const rotation: MapAugmentation = {
  kind: "map",
  description: "turn either way, by up to a fraction of a full turn; where things have no upright",
  parameters: [{ name: "largest fraction of a turn", min: 0, max: 1 }],
  draws: { ...sharedDraws, stream: streams.augment, first: 1, count: 1 },
  map: (draw, values) => {
    const angle = (2 * draw(0) - 1) * values[0]! * 2 * Math.PI;
    const cosine = Math.cos(angle);
    const sine = Math.sin(angle);
    return { linear: [cosine, -sine, sine, cosine] };
  },
};
