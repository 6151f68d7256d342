import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import {
  type Augmentation,
  augmentations,
  composeTransform,
  drawTransforms,
} from "../../lib/augment/transforms.ts";

const options = { size: 32, seed: 5, step: 9, flip: true, rotation: 0.02, zoom: 0.2 };
const still = { flip: false, angle: 0, zoomHeight: 1, zoomWidth: 1 };

/** Where the map samples for output pixel (x, y). */
function sampleAt(t: ArrayLike<number>, x: number, y: number): [number, number] {
  return [t[0]! * x + t[1]! * y + t[2]!, t[3]! * x + t[4]! * y + t[5]!];
}

/** Flip, angle and zooms of a map made by composeTransform. */
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

function drawMany(batch: number, more: Partial<typeof options> = {}) {
  const drawn = drawTransforms({ ...options, batch, ...more });
  return Array.from({ length: batch }, (_, i) => decompose(drawn.slice(i * 6, i * 6 + 6)));
}

Deno.test("composeTransform of nothing is the identity", () => {
  assertEquals(composeTransform(still, 32).map((x) => x + 0), [1, 0, 0, 0, 1, 0]);
});

Deno.test("composeTransform mirrors left to right", () => {
  const t = composeTransform({ ...still, flip: true }, 72);
  assertEquals(sampleAt(t, 0, 5), [71, 5]);
  assertEquals(sampleAt(t, 70, 9), [1, 9]);
});

Deno.test("composeTransform turns about the centre", () => {
  const t = composeTransform({ ...still, angle: Math.PI / 2 }, 5);
  const [x, y] = sampleAt(t, 4, 2);
  assertAlmostEquals(x, 2, 1e-12);
  assertAlmostEquals(y, 4, 1e-12);
});

Deno.test("composeTransform scales the grid in height and width apart", () => {
  const t = composeTransform({ ...still, zoomHeight: 0.5, zoomWidth: 2 }, 5);
  assertEquals(sampleAt(t, 4, 4), [6, 3]);
});

Deno.test("composeTransform zooms the grid first, then turns it, then mirrors it", () => {
  const t = composeTransform({ flip: true, angle: Math.PI / 2, zoomHeight: 0.5, zoomWidth: 2 }, 5);
  // (4, 3) is (2, 1) from the centre; zoomed (4, 0.5); turned (-0.5, 4); mirrored (0.5, 4).
  const [x, y] = sampleAt(t, 4, 3);
  assertAlmostEquals(x, 2.5, 1e-12);
  assertAlmostEquals(y, 6, 1e-12);
});

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

Deno.test("drawTransforms with everything off is the identity", () => {
  const drawn = drawTransforms({ ...options, batch: 3, flip: false, rotation: 0, zoom: 0 });
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

Deno.test("no two augmentations of a stream share a number of an image", () => {
  const taken = new Set<string>();
  for (const [name, { draws }] of Object.entries<Augmentation>(augmentations)) {
    const { stream, ofImage, first, count } = draws;
    for (let n = first; n < first + count; n++) {
      assert(n < ofImage && !taken.has(`${stream}/${n}`), `${name} takes ${n} of ${stream}`);
      taken.add(`${stream}/${n}`);
    }
  }
});

Deno.test("the numbers of release 0.1.0 stay as they were, to the bit", () => {
  const bits = new Uint32Array(drawTransforms({ ...options, batch: 2, firstIndex: 1 }).buffer);
  assertEquals([...bits], [
    ...[1066210172, 3157159718, 3216346767, 1012014390, 1063927110, 1066349464],
    ...[3214050334, 1040499047, 1106893969, 1040518003, 1066545811, 3230070148],
  ]);
});
