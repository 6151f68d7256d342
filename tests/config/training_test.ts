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

Deno.test("LoRA is refused where its rank is none, or another field says what is frozen", () => {
  const origin = new Map([["lora", "--lora"], ["freeze", "--freeze"]]);
  assertEquals(parseRunConfig({ ...preset("tiny"), lora: 64, freeze: "backbone" }).lora, 64);
  const cases: [Partial<RunConfig>, string][] = [
    [
      { lora: 65 },
      "--lora 65 is above 64, the rank that the kernels of queries and values have themselves; " +
      "choose at most 64, and 4 to 16 is usual.",
    ],
    [
      { lora: 8, freeze: "2" },
      "--freeze 2 keeps some blocks, and --lora 8 all of them but for what it adds; leave one of " +
      "them out.",
    ],
    [
      { loraAlpha: 16 },
      "loraAlpha 16 scales what LoRA adds, and --lora 0 adds nothing; choose a rank, lora 8 for " +
      "example, or leave loraAlpha out.",
    ],
    [
      { lora: 8, freeze: "backbone", cacheFeatures: true },
      "cacheFeatures true keeps what a frozen part makes of each image, and --lora 8 trains from " +
      "the first block on; leave one of them out.",
    ],
  ];
  for (const [fields, text] of cases) assertEquals(refusal(fields, origin), text);
});
