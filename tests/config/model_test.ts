import { assertEquals, assertThrows } from "@std/assert";
import { parseViTConfig } from "../../lib/config/model.ts";
import { preset } from "../../lib/config/presets.ts";
import { modelConfigOf, parseRunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";

const tiny = preset("tiny");

/** The message of the UserError that `tiny` with these fields causes. */
function refusal(fields: Record<string, unknown>): string {
  return assertThrows(() => parseRunConfig({ ...tiny, ...fields }), UserError).message;
}

Deno.test("a key of a run is unknown to a model's configuration", () => {
  assertThrows(
    () => parseViTConfig({ ...modelConfigOf(tiny), batchSize: 8 }),
    UserError,
    'Unknown configuration key "batchSize"',
  );
});

Deno.test("an image size that the patch does not divide lists the patch sizes that would do", () => {
  assertEquals(
    refusal({ patchSize: 5 }),
    "imageSize 32 is not divisible by patchSize 5; choose a patchSize among 1, 2, 4, 8, 16, 32.",
  );
});

Deno.test("shifted patches of one pixel, and local attention of one token, are refused", () => {
  assertEquals(
    refusal({ tokenizer: "shifted", patchSize: 1 }),
    "tokenizer shifted needs a patchSize of at least 2, of which half is a pixel, not 1; choose 2, " +
      "or tokenizer patches.",
  );
  const alone = { localityAttention: true, patchSize: 32 };
  assertEquals(
    refusal(alone),
    "localityAttention true needs two tokens, since none attends to itself, and the image has one; " +
      "choose larger images, a smaller patchSize, or false.",
  );
  parseViTConfig({ ...modelConfigOf(tiny), ...alone, pooling: "token" });
});

Deno.test("the last of transformerUnits must be projectionDim", () => {
  const message = refusal({ transformerUnits: [128, 32] });
  assertEquals(
    message.startsWith("The last of transformerUnits is 32 but must equal projectionDim 64"),
    true,
    message,
  );
});
