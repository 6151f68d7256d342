import { assertEquals } from "@std/assert";
import { channelStatistics } from "../../lib/data/dataset.ts";
import { preprocessingFault, preprocessingSchema } from "../../lib/data/preprocessing.ts";

const right = { height: 32, width: 24, channels: 2, mean: [0, 255], variance: [0, 16256.25] };

Deno.test("what images can have is accepted", () => {
  assertEquals(preprocessingSchema.parse(right), right);
  assertEquals(preprocessingFault(right), undefined);
  // The extreme: every other byte 0 and 255.
  const images = Uint8Array.from({ length: 6000 }, (_, i) => (i % 2) * 255);
  const statistics = channelStatistics({ images, labels: new Uint8Array(2), count: 2 }, 3);
  assertEquals(preprocessingFault({ ...right, channels: 3, ...statistics }), undefined);
});

Deno.test("what has another form is refused", () => {
  for (
    const wrong of [
      ...[{ height: 0 }, { height: 1.5 }, { width: "32" }, { channels: null }, { depth: 1 }],
      ...[{ mean: "12" }, { mean: [1, NaN] }, { variance: [1, null] }, { variance: [1, Infinity] }],
    ]
  ) {
    const { success } = preprocessingSchema.safeParse({ ...right, ...wrong });
    assertEquals(success, false, JSON.stringify(wrong));
  }
});

Deno.test("what no images can have is named", () => {
  for (
    const [wrong, fault] of [
      [{ width: 5000 }, "width is 5000, but an image has at most 4096 pixels a side"],
      [{ channels: 3 }, "mean has 2 entries, but channels is 3"],
      [{ variance: [] }, "variance has 0 entries, but channels is 2"],
      [{ mean: [1, 1e308] }, "mean holds 1e+308, but of pixels 0 to 255 it is 0 to 255"],
      [{ mean: [-1, 1] }, "mean holds -1, but of pixels 0 to 255 it is 0 to 255"],
      [{ variance: [1, 1e5] }, "variance holds 100000, but of pixels 0 to 255 it is 0 to 16256.25"],
    ] as const
  ) {
    assertEquals(
      preprocessingFault({ ...right, ...structuredClone(wrong) as object }),
      `preprocessing.${fault}`,
    );
  }
});
