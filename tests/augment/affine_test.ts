import { assertAlmostEquals, assertEquals } from "@std/assert";
import { type AffineMap, composed } from "../../lib/augment/affine.ts";

const mirror: AffineMap = { linear: [-1, 0, 0, 1] };
const quarter: AffineMap = { linear: [0, -1, 1, 0] };
const scale = (width: number, height: number): AffineMap => ({ linear: [width, 0, 0, height] });

/** Where the maps sample for output pixel (x, y). */
function sampleAt(maps: AffineMap[], size: number, x: number, y: number): [number, number] {
  const t = composed(maps, size);
  return [t[0]! * x + t[1]! * y + t[2]!, t[3]! * x + t[4]! * y + t[5]!];
}

Deno.test("no maps are the identity", () => {
  assertEquals(composed([], 32), [1, 0, 0, 0, 1, 0]);
});

Deno.test("a mirror runs from left to right", () => {
  assertEquals(sampleAt([mirror], 72, 0, 5), [71, 5]);
  assertEquals(sampleAt([mirror], 72, 70, 9), [1, 9]);
});

Deno.test("a turn is about the centre", () => {
  const [x, y] = sampleAt([quarter], 5, 4, 2);
  assertAlmostEquals(x, 2, 1e-12);
  assertAlmostEquals(y, 4, 1e-12);
});

Deno.test("height and width are scaled apart, from the centre", () => {
  assertEquals(sampleAt([scale(2, 0.5)], 5, 4, 4), [6, 3]);
});

Deno.test("the last map is the first that a sampling point goes through", () => {
  const [x, y] = sampleAt([mirror, quarter, scale(2, 0.5)], 5, 4, 3);
  // (4, 3) is (2, 1) from the centre; scaled (4, 0.5); turned (-0.5, 4); mirrored (0.5, 4).
  assertAlmostEquals(x, 2.5, 1e-12);
  assertAlmostEquals(y, 6, 1e-12);
});

Deno.test("a shift after a mirror is mirrored with the picture", () => {
  const shift: AffineMap = { linear: [1, 0, 0, 1], shift: [3, 1] };
  assertEquals(sampleAt([shift], 8, 2, 2), [5, 3]);
  assertEquals(sampleAt([shift, mirror], 8, 2, 2), [8, 3]);
  assertEquals(sampleAt([mirror, shift], 8, 2, 2), [2, 3]);
});
