import { assertAlmostEquals, assertEquals, assertStrictEquals } from "@std/assert";
import {
  channelStatistics,
  type ImageSplit,
  limitSplit,
  splitValidation,
} from "../../lib/data/dataset.ts";

function splitOf(count: number, bytesPerImage: number): ImageSplit {
  return {
    images: Uint8Array.from({ length: count * bytesPerImage }, (_, i) => (i * 37 + (i >> 5)) % 256),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 100),
    count,
  };
}

Deno.test("splitValidation holds out the last tenth of 50,000", () => {
  const { train, validation } = splitValidation(splitOf(50_000, 1), 0.1);
  assertEquals([train.count, validation.count], [45_000, 5_000]);
});

Deno.test("splitValidation keeps images and labels together", () => {
  const split = splitOf(10, 12);
  const { train, validation } = splitValidation(split, 0.3);
  assertEquals(train.images, split.images.subarray(0, 84));
  assertEquals(validation.images, split.images.subarray(84));
  assertEquals([...validation.labels], [7, 8, 9]);
});

Deno.test("splitValidation loses no record to rounding of the share", () => {
  assertEquals(splitValidation(splitOf(100, 1), 0.29).validation.count, 29);
});

Deno.test("splitValidation with share 0 holds out nothing", () => {
  assertEquals(splitValidation(splitOf(10, 1), 0).validation.count, 0);
});

Deno.test("limitSplit takes the first records", () => {
  const limited = limitSplit(splitOf(10, 12), 4);
  assertEquals([limited.count, limited.images.length, limited.labels.length], [4, 48, 4]);
  assertEquals([...limited.labels], [0, 1, 2, 3]);
});

Deno.test("limitSplit with 0 or more than there are takes all", () => {
  const split = splitOf(10, 12);
  assertStrictEquals(limitSplit(split, 0), split);
  assertStrictEquals(limitSplit(split, 11), split);
});

Deno.test("channelStatistics agrees with a two-pass loop in float64", () => {
  const split = splitOf(50, 3 * 64);
  const { mean, variance } = channelStatistics(split, 3);
  for (let channel = 0; channel < 3; channel++) {
    const values = [...split.images].filter((_, i) => i % 3 === channel);
    const average = values.reduce((a, b) => a + b, 0) / values.length;
    const spread = values.reduce((a, b) => a + (b - average) ** 2, 0) / values.length;
    assertAlmostEquals(mean[channel]!, average, 1e-9);
    assertAlmostEquals(variance[channel]!, spread, 1e-8);
  }
});
