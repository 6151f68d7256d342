import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { RECTANGLE_DRAWS } from "../../lib/augment/rectangle.ts";
import { resizedcrop } from "../../lib/augment/resizedcrop.ts";
import { parseAugmentations } from "../../lib/augment/list.ts";
import { drawTransforms } from "../../lib/augment/transforms.ts";

/** Width, height and the edges of the part that an image's map takes, in shares of its side. */
function partsOf(text: string, batch: number, size: number) {
  const augmentations = parseAugmentations(text);
  const drawn = drawTransforms({ size, seed: 3, step: 1, batch, augmentations });
  return Array.from({ length: batch }, (_, i) => {
    const [width, , x, , height, y] = drawn.subarray(i * 6, i * 6 + 6) as unknown as number[];
    // Output pixel 0 has its middle half a pixel from the edge.
    const [left, top] = [x! + 0.5 - width! / 2, y! + 0.5 - height! / 2].map((at) => at / size);
    return {
      ...{ width: width!, height: height!, left: left!, top: top! },
      ...{ right: left! + width!, bottom: top! + height! },
    };
  });
}

Deno.test("a part has at least the least area, an aspect from 3/4 to 4/3, and lies in the image", () => {
  const parts = partsOf("resizedcrop(0.25)", 2000, 32);
  const areas = parts.map(({ width, height }) => width * height);
  assert(Math.min(...areas) > 0.2499 && Math.min(...areas) < 0.26, `${Math.min(...areas)}`);
  assert(Math.max(...areas) <= 1.0001 && Math.max(...areas) > 0.97, `${Math.max(...areas)}`);
  const aspects = parts.map(({ width, height }) => width / height);
  assert(Math.min(...aspects) > 0.7499 && Math.min(...aspects) < 0.76);
  assert(Math.max(...aspects) < 1.3334 && Math.max(...aspects) > 1.32);
  for (const { left, top, right, bottom } of parts) {
    assert(Math.min(left, top) > -1e-6 && Math.max(right, bottom) < 1 + 1e-6);
  }
  // Every corner is reached.
  for (const edge of ["left", "top"] as const) {
    assert(Math.min(...parts.map((part) => part[edge])) < 0.01);
  }
  for (const edge of ["right", "bottom"] as const) {
    assert(Math.max(...parts.map((part) => part[edge])) > 0.99);
  }
});

Deno.test("of least area 1 the whole image is taken where no other shape fits", () => {
  assertEquals(resizedcrop.map(() => 0.9, [1], 32), { linear: [1, 0, 0, 1], shift: [0, 0] });
});

Deno.test("what does not fit is drawn anew", () => {
  // The first is wider than the image, the second a quarter of it in the lower right corner.
  const draws = [0.9999, 0.999, 0, 0.5];
  const { linear, shift } = resizedcrop.map(
    (n) => {
      return n >= RECTANGLE_DRAWS ? 0.75 : draws[n]!;
    },
    [0.25],
    8,
  );
  assertEquals(linear, [0.5, 0, 0, 0.5]);
  shift!.forEach((pixels) => assertAlmostEquals(pixels, 1, 1e-12));
});
