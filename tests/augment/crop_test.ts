import { assertEquals } from "@std/assert";
import { crop } from "../../lib/augment/crop.ts";
import { parseAugmentations } from "../../lib/augment/list.ts";
import { drawTransforms } from "../../lib/augment/transforms.ts";

Deno.test("a crop shifts by every whole number of pixels that the padding allows, and no other", () => {
  const augmentations = parseAugmentations("crop(2)");
  const drawn = drawTransforms({ size: 8, seed: 1, step: 0, batch: 500, augmentations });
  const shifts = (place: number) =>
    [...new Set(Array.from({ length: 500 }, (_, i) => drawn[i * 6 + place]!))].sort((a, b) =>
      a - b
    );
  assertEquals(shifts(2), [-2, -1, 0, 1, 2]);
  assertEquals(shifts(5), [-2, -1, 0, 1, 2]);
  assertEquals([shifts(0), shifts(1), shifts(3), shifts(4)], [[1], [0], [0], [1]]);
});

Deno.test("right and down are drawn apart", () => {
  const draws = [0, 0.99];
  assertEquals(crop.map((n) => draws[n]!, [4], 8).shift, [-4, 4]);
});
