import { streams } from "../random.ts";
import { type MapAugmentation, sharedDraws } from "./augmentation.ts";

/** RandomFlip("horizontal") of Keras: every second image is mirrored, at random. */
export const flip: MapAugmentation = {
  kind: "map",
  description: "mirror half of the images; not where left and right differ, as for digits",
  parameters: [],
  draws: { ...sharedDraws, stream: streams.augment, first: 0, count: 1 },
  map: (draw) => ({ linear: [draw(0) < 0.5 ? -1 : 1, 0, 0, 1] }),
};
