import { assertEquals, assertNotStrictEquals, assertThrows } from "@std/assert";
import {
  didYouMean,
  modelConfigOf,
  modelFields,
  parseRunConfig,
  parseViTConfig,
  preset,
  presets,
  runFieldTypes,
} from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";

const tiny = preset("tiny");

/** The message of the UserError that `tiny` with these fields causes. */
function refusal(fields: Record<string, unknown>): string {
  return assertThrows(() => parseRunConfig({ ...tiny, ...fields }), UserError).message;
}

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
      "Known are keras-cifar100, tiny.",
  );
  assertThrows(() => preset("toString"), UserError, 'no preset "toString"');
});

Deno.test("an unknown key names the nearest", () => {
  const message = refusal({ projectionDimension: 64 });
  assertEquals(
    message.startsWith(
      'Unknown configuration key "projectionDimension"; did you mean "projectionDim"? Known are ',
    ),
    true,
    message,
  );
});

Deno.test("a misspelt key is named, rather than the one that it leaves out", () => {
  const { imageSize, ...rest } = tiny;
  const { message } = assertThrows(() => parseRunConfig({ ...rest, imagesize: imageSize }));
  assertEquals(message.includes('"imagesize"; did you mean "imageSize"?'), true, message);
});

Deno.test("a key of a run is unknown to a model's configuration", () => {
  assertThrows(
    () => parseViTConfig({ ...modelConfigOf(tiny), batchSize: 8 }),
    UserError,
    'Unknown configuration key "batchSize"',
  );
});

Deno.test("a wrong value is an error with the key and the value", () => {
  for (
    const [key, value, shown] of [
      ["batchSize", 0, "0"],
      ["batchSize", 1.5, "1.5"],
      ["batchSize", "128", '"128"'],
      ["epochs", -1, "-1"],
      ["numClasses", 1, "1"],
      ["headDropout", 1, "1"],
      ["mlpDropout", -0.1, "-0.1"],
      ["learningRate", NaN, "NaN"],
      ["learningRate", Infinity, "Infinity"],
      ["weightDecay", -1e-4, "-0.0001"],
      ["pooling", "max", '"max"'],
      ["decayConvention", "adamw", '"adamw"'],
      ["seed", 2 ** 31, "2147483648"],
      ["keyDim", 129, "129"],
      ["validationSplit", 1, "1"],
      ["zoom", 1, "1"],
      ["flip", 1, "1"],
      ["transformerUnits", [], "[]"],
      ["decayExclude", "bias", '"bias"'],
      ["epsilon", 0, "0"],
    ] as const
  ) {
    const message = refusal({ [key]: value });
    const expected = `Configuration key "${key}" cannot be ${shown}: `;
    assertEquals(message.slice(0, expected.length), expected);
    assertEquals(message.split("\n").length, 1, message);
  }
});

Deno.test("a wrong element of a list is named by its place", () => {
  const message = refusal({ transformerUnits: [0, 64] });
  assertEquals(message.startsWith('Configuration key "transformerUnits.0" cannot be 0: '), true);
});

Deno.test("a missing key is named", () => {
  const { seed: _, ...rest } = tiny;
  assertThrows(() => parseRunConfig(rest), UserError, '"seed" cannot be left out');
});

Deno.test("a configuration that is no object is an error", () => {
  for (const value of [null, 3, "tiny", [tiny]]) {
    assertThrows(() => parseRunConfig(value), UserError, "must be a JSON object");
  }
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

Deno.test("modelConfigOf takes the model's fields, all of them and no other", () => {
  assertEquals(Object.keys(modelConfigOf(tiny)), Object.keys(modelFields));
});

Deno.test("every field of a run has a type and a description for help texts", () => {
  assertEquals(Object.keys(runFieldTypes).sort(), Object.keys(tiny).sort());
  for (const [key, { type, description }] of Object.entries(runFieldTypes)) {
    assertEquals(description.length > 0, true, key);
    assertEquals(/^(integer|number|boolean|numbers|names|\w+(\|\w+)+)$/.test(type), true, type);
  }
  assertEquals(runFieldTypes.pooling!.type, "flatten|mean|token");
  assertEquals(runFieldTypes.transformerUnits!.type, "numbers");
  assertEquals(runFieldTypes.decayExclude!.type, "names");
});

Deno.test("didYouMean takes the nearest", () => {
  assertEquals(
    didYouMean("wsam", ["webgpu", "wasm"]),
    '; did you mean "wasm"? Known are webgpu, wasm.',
  );
});

Deno.test("a run from before there was clipping is read as one without", () => {
  const { clipNorm, ...older } = preset("tiny");
  assertEquals(clipNorm, 0);
  assertEquals(parseRunConfig(older), preset("tiny"));
});
