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

Deno.test("the last of transformerUnits must be projectionDim", () => {
  const message = refusal({ transformerUnits: [128, 32] });
  assertEquals(
    message.startsWith("The last of transformerUnits is 32 but must equal projectionDim 64"),
    true,
    message,
  );
});
