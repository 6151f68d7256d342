import { assertEquals } from "@std/assert";
import { fitImage } from "../../../lib/data/image/fit.ts";
import type { RgbImage } from "../../../lib/data/image/rgb_image.ts";

/** A grey picture of such values, row by row. */
function grey(width: number, values: number[]): RgbImage {
  const data = Uint8Array.from(values.flatMap((value) => [value, value, value]));
  return { width, height: values.length / width, channels: 3, data };
}

function values({ data }: RgbImage): number[] {
  return [...data].filter((_, i) => i % 3 === 0);
}

Deno.test("crop keeps the middle of a wide and of a tall picture", () => {
  const wide = grey(5, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assertEquals(values(fitImage(wide, 2, { fit: "crop" })), [2, 3, 7, 8]);
  const tall = grey(2, [1, 2, 3, 4, 5, 6, 7, 8]);
  assertEquals(values(fitImage(tall, 2, { fit: "crop" })), [3, 4, 5, 6]);
});

Deno.test("squash keeps all of it", () => {
  const wide = grey(4, [0, 0, 200, 200, 0, 0, 200, 200]);
  assertEquals(values(fitImage(wide, 2, { fit: "squash" })), [29, 171, 29, 171]);
});

Deno.test("a square of the right size stays as it is", () => {
  const square = grey(3, [1, 20, 3, 40, 5, 60, 7, 80, 9]);
  for (const fit of ["crop", "squash"] as const) {
    assertEquals(fitImage(square, 3, { fit }).data, square.data);
  }
});
