import { assertEquals, assertNotEquals } from "@std/assert";
import { parseAugmentations } from "../../lib/augment/list.ts";
import { augmentedPicture } from "../../lib/train/augmented_picture.ts";
import { forEachBackend } from "../backends.ts";
import { shapes } from "./tiny_run.ts";

const picture = { width: 32, height: 32, channels: 3, data: shapes.train.images.slice(0, 3072) };

forEachBackend("a picture is varied as training would, another way for each seed", async () => {
  const varied = async (list: string, seed = 1) =>
    (await augmentedPicture(picture, parseAugmentations(list), seed)).data;
  assertEquals(await varied("none"), picture.data);
  const once = await varied("flip|randaugment(2,20)");
  assertNotEquals(once, picture.data);
  assertEquals(await varied("flip|randaugment(2,20)"), once);
  assertNotEquals(await varied("flip|randaugment(2,20)", 2), once);
  // Grey where it is erased, and nowhere else another picture.
  const erased = await varied("erase(1)");
  const others = erased.filter((level, i) => level !== picture.data[i]);
  assertEquals(new Set(others), new Set([128]));
}, { backends: ["cpu"] });
