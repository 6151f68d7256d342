import { assertEquals, assertNotStrictEquals, assertThrows } from "@std/assert";
import { parseViTConfig } from "../../lib/config/model.ts";
import { preset, presets } from "../../lib/config/presets.ts";
import { modelConfigOf, parseRunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";

Deno.test("every preset parses to itself", () => {
  for (const [name, config] of Object.entries(presets)) {
    assertEquals(parseRunConfig(config), config, name);
    assertEquals(parseViTConfig(modelConfigOf(config)), modelConfigOf(config), name);
  }
});

Deno.test("keras-cifar100 is the example's recipe", () => {
  const c = preset("keras-cifar100");
  assertEquals([c.imageSize, c.patchSize, c.projectionDim, c.numHeads, c.keyDim], [
    72,
    6,
    64,
    4,
    64,
  ]);
  assertEquals([c.transformerLayers, c.transformerUnits, c.mlpHeadUnits], [8, [128, 64], [
    2048,
    1024,
  ]]);
  assertEquals([c.attentionDropout, c.mlpDropout, c.headDropout], [0.1, 0.1, 0.5]);
  assertEquals([c.learningRate, c.weightDecay, c.decayConvention], [1e-3, 1e-4, "tfa"]);
  assertEquals([c.batchSize, c.epochs, c.validationSplit], [256, 100, 0.1]);
  assertEquals([c.flip, c.rotation, c.zoom], [true, 0.02, 0.2]);
});

Deno.test("a preset is a copy: changing it leaves the next one as it was", () => {
  const mine = preset("tiny");
  mine.transformerUnits.push(1);
  assertEquals(preset("tiny").transformerUnits, [128, 64]);
  assertNotStrictEquals(preset("tiny"), preset("tiny"));
});

Deno.test("an unknown preset names the nearest", () => {
  const { message } = assertThrows(() => preset("keras-cifar10"), UserError);
  assertEquals(
    message,
    'There is no preset "keras-cifar10"; did you mean "keras-cifar100"? ' +
      "Known are keras-cifar100, tiny, compact, strong, finetune.",
  );
  assertThrows(() => preset("toString"), UserError, 'no preset "toString"');
});
