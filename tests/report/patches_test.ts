import { assertEquals, assertThrows } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { drawPatches, patchLines, type Picture } from "../../lib/report/patches.ts";

Deno.test("the four lines are those of the Keras example", () => {
  assertEquals(patchLines(72, 6, 3), [
    "Image size: 72 X 72",
    "Patch size: 6 X 6",
    "Patches per image: 144",
    "Elements per patch: 108",
  ]);
  assertEquals(patchLines(32, 4, 1).slice(2), ["Patches per image: 64", "Elements per patch: 16"]);
});

/** Every pixel its own colour, none of them white. */
function distinct(size: number): Picture {
  const data = Uint8Array.from({ length: size * size * 3 }, (_, i) => [0, 100, 200][i % 3]!);
  for (let i = 0; i < size * size; i++) data.set([i % 250, Math.floor(i / 250)], i * 3);
  return { width: size, height: size, channels: 3, data };
}

Deno.test("image and patches hold every pixel alike, enlarged by a whole factor", () => {
  const size = 72;
  const image = distinct(size);
  const picture = drawPatches(image, 6);
  const zoom = 432 / size;
  const counts = new Map<string, number>();
  for (let i = 0; i < picture.data.length; i += 3) {
    const colour = picture.data.subarray(i, i + 3).join();
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  counts.delete("255,255,255");
  assertEquals(counts.size, size * size);
  assertEquals([...new Set(counts.values())], [2 * zoom * zoom]);
});

Deno.test("patches stand in a grid with gaps, in their own order", () => {
  const picture = drawPatches(distinct(4), 2);
  const zoom = 108;
  const at = (x: number, y: number) => {
    const i = (y * picture.width + x) * 3;
    return [...picture.data.subarray(i, i + 3)];
  };
  const left = 24 + 4 * zoom + 24;
  const patch = 2 * zoom;
  assertEquals([picture.width, picture.height], [
    left + 2 * patch + 4 + 24,
    24 + 2 * patch + 4 + 24,
  ]);
  assertEquals(at(left, 24), [0, 0, 200], "the first pixel of the first patch");
  assertEquals(at(left + patch - 1, 24 + patch - 1), [5, 0, 200], "its last pixel");
  for (const gap of [0, 3]) assertEquals(at(left + patch + gap, 30), [255, 255, 255]);
  assertEquals(at(left + patch + 4, 24), [2, 0, 200], "the second patch");
  assertEquals(at(left, 24 + patch + 4), [8, 0, 200], "the third patch, in the second row");
  assertEquals(at(left + 2 * patch + 3, 24 + 2 * patch + 3), [15, 0, 200], "the very last pixel");
  assertEquals(at(24, 24 + 2), [0, 0, 200], "the image beside it, in the middle of the height");
  assertEquals(at(24 + patch, 24 + 2 + patch), [10, 0, 200], "without gaps");
});

Deno.test("a patch that does not divide the image, or an image not square, is refused", () => {
  assertThrows(() => patchLines(72, 7, 3), UserError, "72 is not divisible by patch size 7");
  assertThrows(() => drawPatches(distinct(8), 3), UserError, "not divisible");
  const wide = { ...distinct(8), width: 16, height: 4 };
  assertThrows(() => drawPatches(wide, 4), UserError, "16x4");
});
