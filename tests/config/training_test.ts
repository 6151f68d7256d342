import { assertEquals, assertThrows } from "@std/assert";
import { parseRunConfig, preset, type RunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";

/** The refusal of `tiny` with other fields. */
function refusal(fields: Partial<RunConfig>, origin?: ReadonlyMap<string, string>): string {
  return assertThrows(() => parseRunConfig({ ...preset("tiny"), ...fields }, origin), UserError)
    .message;
}

Deno.test("features are cached only where they stay what they are", () => {
  const cached = { cacheFeatures: true, freeze: "backbone", augment: "none" };
  assertEquals(parseRunConfig({ ...preset("tiny"), ...cached }).cacheFeatures, true);
  const origin = new Map([["cacheFeatures", "--cache-features"], ["augment", "--augment"]]);
  assertEquals(
    refusal({ ...cached, freeze: "none" }, origin),
    "--cache-features true keeps what a frozen part makes of each image, and freeze none freezes " +
      "nothing; choose freeze backbone, or leave cacheFeatures out.",
  );
  assertEquals(
    refusal({ ...cached, augment: "flip|crop(4)" }, origin),
    "--cache-features true computes each image's features once, and the augmentation flip|crop(4) " +
      "makes another image of it at each step; choose --augment none, or leave cacheFeatures out.",
  );
  assertEquals(
    refusal({ ...cached, augment: "", flip: true, rotation: 0, zoom: 0 }),
    "cacheFeatures true computes each image's features once, and the augmentation flip makes " +
      "another image of it at each step; choose augment none, or leave cacheFeatures out.",
  );
});
