import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { parseAugmentations } from "../../lib/augment/list.ts";
import type { DrawOptions } from "../../lib/augment/draws.ts";
import { drawTransforms } from "../../lib/augment/transforms.ts";

const augmentations = parseAugmentations("flip|rotation(0.02)|zoom(0.2)");
const options = { size: 32, seed: 5, step: 9, augmentations };

/** Flip, angle and zooms of a map of the three. */
function decompose([t0, t1, , t3, t4]: Float32Array) {
  const flip = t0! < 0;
  const mirror = flip ? -1 : 1;
  return {
    flip,
    angle: Math.atan2(t3!, mirror * t0!),
    zoomWidth: Math.hypot(t0!, t3!),
    zoomHeight: Math.hypot(t1!, t4!),
  };
}

function drawMany(batch: number, more: Partial<DrawOptions> = {}) {
  const drawn = drawTransforms({ ...options, batch, ...more });
  return Array.from({ length: batch }, (_, i) => decompose(drawn.slice(i * 6, i * 6 + 6)));
}

Deno.test("drawTransforms stays in its ranges and fills them", () => {
  const drawn = drawMany(4000);
  const angle = 0.02 * 2 * Math.PI;
  const spans = {
    angle: [-angle, angle],
    zoomHeight: [0.8, 1.2],
    zoomWidth: [0.8, 1.2],
  } as const;
  for (const [field, [least, most]] of Object.entries(spans)) {
    const values = drawn.map((t) => t[field as keyof typeof spans]);
    const slack = (most - least) * 0.005;
    assert(Math.min(...values) >= least - 1e-6 && Math.min(...values) < least + slack, field);
    assert(Math.max(...values) <= most + 1e-6 && Math.max(...values) > most - slack, field);
    // Uniform: the mean of 4000 draws has a standard deviation of span / sqrt(12 * 4000).
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    assertAlmostEquals(mean, (least + most) / 2, 5 * (most - least) / Math.sqrt(12 * 4000), field);
  }
});

Deno.test("drawTransforms flips every second image", () => {
  const flips = drawMany(4000).filter(({ flip }) => flip).length;
  // Five standard deviations of sqrt(1000).
  assertAlmostEquals(flips, 2000, 158);
});

Deno.test("drawTransforms draws height and width independently", () => {
  const drawn = drawMany(4000);
  const product = drawn.reduce((sum, t) => sum + (t.zoomHeight - 1) * (t.zoomWidth - 1), 0) / 4000;
  // The variance of each is 0.4^2 / 12, so the correlation's five standard deviations are 0.08.
  assertAlmostEquals(product / (0.16 / 12), 0, 0.08);
});

Deno.test("drawTransforms of no augmentation is the identity", () => {
  const drawn = drawTransforms({ ...options, batch: 3, augmentations: [] });
  assertEquals([...drawn].map((x) => x + 0), Array(3).fill([1, 0, 0, 0, 1, 0]).flat());
});

Deno.test("drawTransforms of a batch in parts is that of the whole", () => {
  const whole = drawTransforms({ ...options, batch: 7 });
  const first = drawTransforms({ ...options, batch: 3 });
  const rest = drawTransforms({ ...options, batch: 4, firstIndex: 3 });
  assertEquals([...first, ...rest], [...whole]);
});

Deno.test("drawTransforms depends on the seed and on the step", () => {
  const drawn = drawTransforms({ ...options, batch: 2 });
  assertNotEquals(drawTransforms({ ...options, batch: 2, step: 10 }), drawn);
  assertNotEquals(drawTransforms({ ...options, batch: 2, seed: 6 }), drawn);
});

Deno.test("the numbers of release 0.1.0 stay as they were, to the bit", () => {
  const bits = new Uint32Array(drawTransforms({ ...options, batch: 2, firstIndex: 1 }).buffer);
  assertEquals([...bits], [
    ...[1066210172, 3157159718, 3216346767, 1012014390, 1063927110, 1066349464],
    ...[3214050334, 1040499047, 1106893969, 1040518003, 1066545811, 3230070148],
  ]);
});
