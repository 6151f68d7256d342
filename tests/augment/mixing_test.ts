import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { parseAugmentations } from "../../lib/augment/list.ts";
import { ofKind } from "../../lib/augment/listed.ts";
import type { Mix } from "../../lib/augment/augmentation.ts";
import { drawMix, labelShareOf, probabilitiesOf } from "../../lib/augment/mixing.ts";
import { randomBeta, streamKey } from "../../lib/random.ts";

const mixesOf = (text: string) => ofKind(parseAugmentations(text), "mix");

/** The mixes of 2,000 steps of 32 pixels. */
function drawn(text: string, seed = 1): Mix[] {
  const mixes = mixesOf(text);
  return Array.from({ length: 2000 }, (_, step) => drawMix({ seed, step, size: 32, mixes }));
}

Deno.test("shares of the beta distribution have its mean and its variance", () => {
  for (const alpha of [0.01, 0.2, 1, 8]) {
    const shares = Array.from(
      { length: 4000 },
      (_, step) => randomBeta(streamKey(3, 21, step), alpha),
    );
    assert(shares.every((share) => share >= 0 && share <= 1), `${alpha}`);
    const mean = shares.reduce((sum, share) => sum + share, 0) / 4000;
    const variance = shares.reduce((sum, share) => sum + (share - 0.5) ** 2, 0) / 4000;
    const expected = 1 / (4 * (2 * alpha + 1));
    // Five standard deviations of the mean; that of a square of at most 1/4 is at most 1/4 of its mean.
    assertAlmostEquals(mean, 0.5, 5 * Math.sqrt(expected / 4000), `${alpha}`);
    assertAlmostEquals(variance, expected, 5 * Math.sqrt(expected / 4 / 4000), `${alpha}`);
  }
});

Deno.test("those that name no probability share what is left", () => {
  const found = (text: string) => probabilitiesOf(mixesOf(text));
  assertEquals(found("mixup(0.8)"), [1]);
  assertEquals(found("mixup(0.8)|cutmix(1)"), [0.5, 0.5]);
  assertEquals(found("mixup(0.8,0.25)|cutmix(1)"), [0.25, 0.75]);
  assertEquals(found("cutmix(1,0.1)|mixup(0.8,0.2)"), [0.1, 0.2]);
  assertEquals(found("mixup(0.8,0.9)|cutmix(1,0.1)"), [0.9, 0.1]);
});

Deno.test("a batch is mixed by one of the list or by none, as often as they say", () => {
  const counts = { mixup: 0, cutmix: 0, none: 0 };
  for (const { share, box: [left, top, right, bottom] } of drawn("mixup(1,0.3)|cutmix(1,0.5)")) {
    if (share < 1) counts.mixup++;
    // A box that is drawn too small is no pixel wide.
    else if (right > left || bottom > top) counts.cutmix++;
    else counts.none++;
  }
  // Five standard deviations of 2,000 draws, and for the boxes without a pixel, 0.4 % of them.
  assertAlmostEquals(counts.mixup, 600, 103);
  assertAlmostEquals(counts.cutmix, 1000, 116);
  assertAlmostEquals(counts.none, 400, 94);
});

Deno.test("a box lies inside, may be cut off at each side, and its pixels are the labels' share", () => {
  const touched = new Set<string>();
  for (const mix of drawn("cutmix(1)")) {
    const [left, top, right, bottom] = mix.box;
    let pixels = 0;
    for (let y = 0; y < 32; y++) {
      for (let x = 0; x < 32; x++) if (x >= left && x < right && y >= top && y < bottom) pixels++;
    }
    assertEquals(pixels, (right - left) * (bottom - top), "it is outside");
    assertAlmostEquals(labelShareOf(mix, 32), 1 - pixels / 1024, 1e-12);
    if (right - left === bottom - top) continue;
    if (left === 0) touched.add("left");
    if (top === 0) touched.add("top");
    if (right === 32) touched.add("right");
    if (bottom === 32) touched.add("bottom");
  }
  assertEquals(touched.size, 4);
});

Deno.test("a box that is not cut off has the share that was drawn", () => {
  const { cutmix } = Object.fromEntries(mixesOf("cutmix(1)").map((mix) => [mix.name, mix]));
  const { box } = cutmix!.augmentation.mix(0.75, () => 0.5, 32);
  assertEquals(box, [8, 8, 24, 24]);
  assertEquals(cutmix!.augmentation.mix(0, () => 0.5, 32).box, [0, 0, 32, 32]);
  assertEquals(cutmix!.augmentation.mix(1, () => 0.5, 32).box, [16, 16, 16, 16]);
});

Deno.test("how a batch is mixed follows from seed and step", () => {
  const all = drawn("mixup(0.8)|cutmix(1)");
  assertEquals(drawn("mixup(0.8)|cutmix(1)"), all);
  assertNotEquals(all[1], all[0]);
  assertNotEquals(drawn("mixup(0.8)|cutmix(1)", 2)[0], all[0]);
});
