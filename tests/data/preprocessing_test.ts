import { assertEquals } from "@std/assert";
import { channelStatistics } from "../../lib/data/dataset.ts";
import { preprocessingSchema } from "../../lib/data/preprocessing.ts";

const right = { height: 32, width: 24, channels: 2, mean: [0, 255], variance: [0, 16256.25] };

Deno.test("what images can have is accepted", () => {
  assertEquals(preprocessingSchema.parse(right), right);
  // The extreme: every other byte 0 and 255.
  const images = Uint8Array.from({ length: 6000 }, (_, i) => (i % 2) * 255);
  const statistics = channelStatistics({ images, labels: new Uint8Array(2), count: 2 }, 3);
  assertEquals(
    preprocessingSchema.safeParse({ ...right, channels: 3, ...statistics }).success,
    true,
  );
});

Deno.test("what no images can have is refused", () => {
  for (
    const wrong of [
      { height: 0 },
      { width: 1e9 },
      { height: 1.5 },
      { channels: 5 },
      { channels: 3 },
      { mean: [1] },
      { mean: [1, 1e308] },
      { mean: [1, -1] },
      { mean: [1, NaN] },
      { mean: "12" },
      { variance: [1, -1] },
      { variance: [1, 1e5] },
      { variance: [] },
      { variance: [1, null] },
      { depth: 1 },
    ]
  ) {
    const { success } = preprocessingSchema.safeParse({ ...right, ...wrong });
    assertEquals(success, false, JSON.stringify(wrong));
  }
});
