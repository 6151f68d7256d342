import { assert, assertEquals } from "@std/assert";
import type { Box } from "../../lib/augment/augmentation.ts";
import { drawnOf } from "../../lib/augment/draws.ts";
import { erase } from "../../lib/augment/erase.ts";
import { parseAugmentations } from "../../lib/augment/list.ts";
import { RECTANGLE_DRAWS } from "../../lib/augment/rectangle.ts";

function boxesOf(text: string, batch: number, size: number): (Box | null)[] {
  const augmentations = parseAugmentations(text);
  const options = { size, seed: 3, step: 1, batch, augmentations };
  const [{ augmentation, values, drawOf }] = drawnOf("erase", options) as [
    ReturnType<typeof drawnOf<"erase">>[0],
  ];
  return Array.from({ length: batch }, (_, i) => augmentation.box(drawOf(i), values, size));
}

Deno.test("a box has 2 to 33 % of the image, an aspect from 0.3 to 3.3, and lies in it", () => {
  const size = 200;
  const boxes = boxesOf("erase(1)", 2000, size) as Box[];
  const measured = boxes.map(([top, left, bottom, right]) => {
    assert(top >= 0 && left >= 0 && bottom <= size && right <= size);
    return {
      area: (bottom - top) * (right - left) / size ** 2,
      aspect: (bottom - top) / (right - left),
    };
  });
  const spans = { area: [0.02, 1 / 3], aspect: [0.3, 1 / 0.3] } as const;
  for (const [field, [least, most]] of Object.entries(spans)) {
    const values = measured.map((box) => box[field as keyof typeof spans]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    // Sides are whole pixels.
    assert(low > least * 0.96 && low < least * 1.05, `${field} from ${low}`);
    assert(high < most * 1.04 && high > most * 0.95, `${field} to ${high}`);
  }
  for (const [k, most] of [0, 0, size, size].entries()) {
    const reached = boxes.filter((box) => box[k] === most).length;
    assert(reached > 0, `edge ${k} is reached`);
  }
});

Deno.test("that share of the images has a box", () => {
  assertEquals(boxesOf("erase(0)", 100, 32), Array(100).fill(null));
  const erased = boxesOf("erase(0.25)", 4000, 32).filter((box) => box !== null).length;
  // Five standard deviations of sqrt(750).
  assert(Math.abs(erased - 1000) < 137, `${erased} of 4000`);
});

Deno.test("a box that does not fit is drawn anew, ten times at most", () => {
  // A third of the area, as high as may be: 1.05 of the image's height.
  const tooHigh = (n: number) => n === 0 ? 0 : 0.9999;
  assertEquals(erase.box(tooHigh, [1], 30), null);
  // The second is a square of half the side, in the lower right corner.
  const second = [(0.25 - 0.02) / (1 / 3 - 0.02), 0.5];
  const draw = (n: number) => n === 3 || n === 4 ? second[n - 3]! : tooHigh(n);
  assertEquals(erase.box(draw, [1], 30), [15, 15, 30, 30]);
  assertEquals(erase.box((n) => n > RECTANGLE_DRAWS ? 0 : draw(n), [1], 30), [0, 0, 15, 15]);
});
