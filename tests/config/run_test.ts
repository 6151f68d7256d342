import { assertEquals, assertThrows } from "@std/assert";
import { modelFields } from "../../lib/config/model.ts";
import { poolings } from "../../lib/layers/poolings.ts";
import { preset } from "../../lib/config/presets.ts";
import {
  modelConfigOf,
  parseRunConfig,
  type RunConfig,
  runFieldTypes,
  storedConfig,
} from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";

const tiny = preset("tiny");

/** The message of the UserError that `tiny` with these fields causes. */
function refusal(fields: Record<string, unknown>, origin?: Map<string, string>): string {
  return assertThrows(() => parseRunConfig({ ...tiny, ...fields }, origin), UserError).message;
}

Deno.test("an unknown key names the nearest", () => {
  const message = refusal({ projectionDimension: 64 });
  assertEquals(
    message.startsWith(
      'Unknown configuration key "projectionDimension"; did you mean "projectionDim"?',
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
      ["pooling", "other", '"other"'],
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

Deno.test("modelConfigOf takes the model's fields, all of them and no other", () => {
  assertEquals(Object.keys(modelConfigOf(tiny)), Object.keys(modelFields));
});

Deno.test("every field of a run has a type and a description for help texts", () => {
  assertEquals(Object.keys(runFieldTypes).sort(), Object.keys(tiny).sort());
  for (const [key, { type, description }] of Object.entries(runFieldTypes)) {
    assertEquals(description.length > 0, true, key);
    assertEquals(
      /^(integer|number|boolean|numbers|names|name|\w+(\|\w+)*)$/.test(type),
      true,
      type,
    );
  }
  assertEquals(runFieldTypes.pooling!.type, Object.keys(poolings).join("|"));
  assertEquals(runFieldTypes.dataset!.type, "name");
  assertEquals(runFieldTypes.transformerUnits!.type, "numbers");
  assertEquals(runFieldTypes.decayExclude!.type, "names");
});

Deno.test("a run from before there was clipping is read as one without", () => {
  const { clipNorm, ...older } = preset("tiny");
  assertEquals(clipNorm, 0);
  assertEquals(parseRunConfig(older), preset("tiny"));
});

Deno.test("an error from the command line is in its words", () => {
  const origin = new Map(
    ["learningRate", "batchSize", "seed", "beta1", "pooling", "flip", "mlpHeadUnits", "patchSize"]
      .map((key) => [key, `--${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`]),
  );
  for (
    const [fields, message] of [
      [
        { learningRate: -1 },
        "Option --learning-rate cannot be -1: it must be above 0.",
      ],
      [
        { batchSize: 1.5 },
        "Option --batch-size cannot be 1.5: it must be a whole number from 1 to 1048576.",
      ],
      [{ seed: -1 }, "Option --seed cannot be -1: it must be from 0 to 2147483647."],
      [{ beta1: 2 }, "Option --beta1 cannot be 2: it must be from 0 to below 1."],
      [
        { pooling: "other" },
        'Option --pooling cannot be "other": it must be ' +
        Object.keys(poolings).join(", ").replace(/, (\w+)$/, " or $1."),
      ],
      [
        { mlpHeadUnits: [8, 0] },
        "Value 2 of option --mlp-head-units cannot be 0: it must be from 1 to 262144.",
      ],
      [
        { patchSize: 5 },
        "imageSize 32 is not divisible by --patch-size 5; choose a --patch-size among 1, 2, 4, 8, 16, 32.",
      ],
    ] as const
  ) assertEquals(refusal(fields, origin), message);
  // Of the same configuration, what a file gave keeps the key's name.
  assertEquals(
    refusal({ weightDecay: -1 }, origin),
    'Configuration key "weightDecay" cannot be -1: it must be from 0 to 1000.',
  );
});

/** `tiny` as a file in groups has it. */
function grouped(): Record<string, Record<string, unknown>> {
  const of = (...keys: (keyof RunConfig)[]) => Object.fromEntries(keys.map((k) => [k, tiny[k]]));
  return {
    model: modelConfigOf(tiny),
    input: of(
      ...["dataset", "labels", "limit", "validationSplit", "batchSize", "accumulate"] as const,
      ...["testSplit", "storedSize", "fit"] as const,
    ),
    schedule: of(
      ...["epochs", "seed", "schedule", "warmupEpochs", "learningRateFloor", "patience"] as const,
    ),
    augment: of("flip", "rotation", "zoom", "augment", "mixEpochs"),
    loss: of("labelSmoothing"),
    optimizer: of(
      ...["learningRate", "weightDecay", "decayConvention", "decayExclude"] as const,
      ...["beta1", "beta2", "epsilon", "clipNorm", "ema"] as const,
    ),
  };
}

Deno.test("mixing is refused where it can do nothing, and its end where it has none", () => {
  const mixing = { augment: "flip|mixup(0.8)" };
  assertEquals(parseRunConfig({ ...tiny, ...mixing, mixEpochs: 3 }).mixEpochs, 3);
  assertEquals(
    refusal({ ...mixing, batchSize: 1 }),
    "mixup cannot mix a batch of one image, as batchSize 1 makes them; choose a batch of 2 or " +
      "more, or leave it out of augment.",
  );
  assertEquals(
    refusal({ augment: "flip", mixEpochs: 3 }),
    "mixEpochs 3 is when mixup and cutmix stop, and augment has neither; add one, as in " +
      "flip|mixup(0.8), or leave it out.",
  );
});

Deno.test("a configuration in groups is the flat one", () => {
  assertEquals(parseRunConfig(grouped()), tiny);
  const { schedule, ...others } = grouped();
  assertEquals(parseRunConfig({ ...others, ...schedule }), tiny, "some flat, some in groups");
});

Deno.test("an unknown key in a group names the group and the nearest key of it", () => {
  const value = grouped();
  value.optimizer!.learningrate = 1;
  const { message } = assertThrows(() => parseRunConfig(value), UserError);
  const start = 'Unknown configuration key "learningrate" in group "optimizer"; ' +
    'did you mean "learningRate"? Known are learningRate, weightDecay, ';
  assertEquals(message.slice(0, start.length), start);
});

Deno.test("a key given flat and in its group is refused", () => {
  assertThrows(
    () => parseRunConfig({ ...grouped(), epochs: 3 }),
    UserError,
    'Configuration key "epochs" is given twice; leave one out.',
  );
});

Deno.test("a field younger than 0.1.0 is read where absent, and not written at its default", async () => {
  const written = await Deno.readTextFile(
    new URL("../released/0.1.0/config.json", import.meta.url),
  );
  const keys = Object.keys(JSON.parse(written)) as (keyof RunConfig)[];
  const older = Object.fromEntries(keys.map((key) => [key, tiny[key]]));
  assertEquals(Object.hasOwn(older, "schedule"), false);
  assertEquals(parseRunConfig(older), tiny);
  assertEquals(JSON.stringify(storedConfig(tiny)), JSON.stringify(older));
  const other = { ...tiny, schedule: "cosine" as const, warmupEpochs: 1 };
  assertEquals<unknown>(storedConfig(other), { ...older, schedule: "cosine", warmupEpochs: 1 });
});

Deno.test("release 0.1.0 wrote every field, in this order", async () => {
  const written = await Deno.readTextFile(
    new URL("../released/0.1.0/config.json", import.meta.url),
  );
  const config = parseRunConfig(JSON.parse(written));
  assertEquals(JSON.stringify(storedConfig(config), null, 2) + "\n", written);
});
