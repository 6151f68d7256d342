import { assertAlmostEquals, assertEquals } from "@std/assert";
import { filterPictures, positionSimilarity } from "../../lib/report/weight_findings.ts";

Deno.test("similarity is the cosine of places, and 0 with a place that is all zero", () => {
  const found = positionSimilarity(Float32Array.of(1, 0, 3, 3, 0, -2, 0, 0), 4);
  const diagonal = Math.SQRT1_2;
  const expected = [
    ...[1, diagonal, 0, 0],
    ...[diagonal, 1, -diagonal, 0],
    ...[0, -diagonal, 1, 0],
    ...[0, 0, 0, 0],
  ];
  expected.forEach((value, i) => assertAlmostEquals(found[i]!, value, 1e-6));
});

/** Filters `[2 * 2 pixels, parts, 1 channel, filters]` that are multiples of one pattern. */
function multiples(pattern: number[], factors: number[], parts: number): Float32Array {
  const rows = pattern.flatMap((value) => [
    ...factors.map((factor) => value * factor),
    ...Array<number>(factors.length * (parts - 1)).fill(9),
  ]);
  return Float32Array.from(rows);
}

for (const parts of [1, 5]) {
  Deno.test(`the strongest component is the pattern that filters share, of ${parts} parts`, async () => {
    const data = multiples([0, 1, 0.5, -1], [1, 2, -3, 0.5, 7, 2], parts);
    const [first] = await filterPictures({ data, side: 2, parts, channels: 1 });
    assertEquals([first!.width, first!.height, first!.channels], [2, 2, 1]);
    // From the least to the greatest; the sign is free, and of equal ones the pattern's may turn.
    const bytes = [...first!.data];
    assertEquals([Math.min(...bytes), Math.max(...bytes)], [0, 255]);
    const upright = bytes[1] === 255 ? bytes : bytes.map((value) => 255 - value);
    [128, 255, 191, 0].forEach((value, i) => assertAlmostEquals(upright[i]!, value, 1));
  });
}

Deno.test("there are as many components as fewer filters allow, and none of two channels", async () => {
  const data = Float32Array.from({ length: 4 * 3 }, (_, i) => Math.sin(i * i));
  assertEquals((await filterPictures({ data, side: 2, parts: 1, channels: 1 })).length, 2);
  assertEquals(await filterPictures({ data, side: 1, parts: 1, channels: 2 }), []);
});
