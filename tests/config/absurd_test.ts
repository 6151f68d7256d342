/**
 * Configurations that no model needs: each is refused in a sentence, below a second of work, before
 * anything is built.
 */
import { assert, assertThrows } from "@std/assert";
import { modelConfigOf, parseRunConfig, preset, type RunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { architectureOf } from "../../lib/models/architecture.ts";
import { assertStepFits } from "../../lib/train/memory.ts";

const tiny = preset("tiny");

const wholes = [
  ...["imageSize", "channels", "patchSize", "projectionDim", "numHeads", "keyDim"],
  ...["transformerLayers", "numClasses", "batchSize", "epochs", "accumulate"],
];
const numbers = [
  ...["attentionDropout", "mlpDropout", "headDropout", "layerNormEpsilon", "validationSplit"],
  ...["rotation", "zoom", "learningRate", "weightDecay", "beta1", "beta2", "epsilon", "clipNorm"],
  ...[
    "warmupEpochs",
    "learningRateFloor",
    "patience",
    "labelSmoothing",
    "ema",
    "dropPath",
    "layerScale",
    "mixEpochs",
  ],
];
const lists = ["transformerUnits", "mlpHeadUnits"];
const words = ["pooling", "dataset", "labels", "decayConvention", "schedule"];

function* absurd(): Generator<[name: string, fields: unknown]> {
  const one = (key: string, value: unknown): [string, unknown] => [
    `${key} ${typeof value} ${String(value).slice(0, 20)}`,
    { ...tiny, [key]: value },
  ];
  for (const key of wholes) {
    for (const value of [0, -1, 1.5, 1e9, 2 ** 31, 2 ** 53, 1e308, NaN, Infinity, "3", null, []]) {
      yield one(key, value);
    }
  }
  yield one("imageSize", 1e8 + 1);
  yield one("seed", 2 ** 31);
  yield one("limit", -1);
  for (const key of numbers) {
    for (const value of [-1, 1e300, NaN, -Infinity, Infinity, "0.1", null, {}]) {
      // A rate that makes a run diverge is a way to see what it does then.
      if (key !== "learningRate" || value !== 1e300) yield one(key, value);
    }
  }
  for (const key of lists) {
    for (
      const value of [
        Array(1e6).fill(64),
        Array(1e6).fill("x"),
        Array(100).fill(64),
        ...[[1e9, 64], [0, 64], [1.5, 64], [NaN, 64], [null, 64], [[64], 64], "64", 64, { 0: 64 }],
      ]
    ) yield one(key, value);
  }
  yield one("decayExclude", Array(1e6).fill("bias"));
  yield one("decayExclude", ["x".repeat(1e6)]);
  yield one("decayExclude", [1]);
  for (const key of words) {
    for (
      const value of ["", "x".repeat(1e6), "\u001b[2J\u202e", "toString", "__proto__", 0, [], {}]
    ) {
      // An object is a group, of which an empty one leaves the field out.
      if (key === "schedule" && typeof value === "object" && !Array.isArray(value)) continue;
      yield one(key, value);
    }
  }
  for (const value of [0, 1, "true", null, "yes"]) yield one("flip", value);

  // Each field is in its range, but not all of them together.
  const wide = { projectionDim: 65536, transformerUnits: [262144, 65536] };
  const together: Record<string, Partial<RunConfig>> = {
    "1,024 blocks of the greatest width": { ...wide, transformerLayers: 1024 },
    "67 million tokens, wide": { ...wide, imageSize: 8192, patchSize: 1, transformerLayers: 1 },
    "67 million tokens side by side": { imageSize: 8192, patchSize: 1, pooling: "flatten" },
    "a million classes of a wide head": { mlpHeadUnits: [262144], numClasses: 2 ** 20 },
    "a head of 16 of the widest": { mlpHeadUnits: Array(16).fill(262144) },
    "a batch of a million": { batchSize: 2 ** 20 },
    "large images, a large batch": { imageSize: 8192, patchSize: 8192, batchSize: 4096 },
    "a thousand heads": { numHeads: 1024, keyDim: 128, batchSize: 2 ** 16 },
    "a patch that does not divide": { imageSize: 8191, patchSize: 8190 },
    "an MLP of another width": { transformerUnits: [128, 63] },
    "a warm-up longer than the run": { epochs: 5, warmupEpochs: 5.1 },
    "a floor above the peak": { schedule: "cosine", learningRateFloor: 2e-3 },
    "a floor that is never reached": { learningRateFloor: 1e-5 },
    "accumulation that does not divide": { batchSize: 128, accumulate: 3 },
    "more parts than images": { batchSize: 128, accumulate: 256 },
    "a batch of one that is mixed": { augment: "mixup(0.8)", batchSize: 1 },
    "an end of mixing that is none": { augment: "flip", mixEpochs: 3 },
    "patience without validation": { patience: 3, validationSplit: 0 },
  };
  for (const [name, fields] of Object.entries(together)) yield [name, { ...tiny, ...fields }];

  // Whole objects.
  const { imageSize: _, ...without } = tiny;
  let deep: unknown = 1;
  for (let i = 0; i < 1e5; i++) deep = [deep];
  const keys = Array.from({ length: 1e5 }, (_, i) => [`key${i}`, i]);
  yield ["a key of a megabyte", { ...tiny, ["x".repeat(1e6)]: 1 }];
  yield ["a key that acts on a terminal", { ...tiny, "\u001b]0;x\u0007": 1 }];
  yield ["a hundred thousand keys", { ...tiny, ...Object.fromEntries(keys) }];
  yield ["a hundred thousand brackets", { ...tiny, imageSize: deep }];
  yield ["a prototype", JSON.parse(`{"__proto__": {"imageSize": 3}, "seed": 1}`)];
  yield ["a constructor", { ...tiny, constructor: 1 }];
  yield ["a prototype in a group", { ...tiny, model: JSON.parse(`{"__proto__": 1}`) }];
  yield ["a group that is a list", { ...tiny, optimizer: [1] }];
  yield ["a group in a group", { ...tiny, model: { model: {} } }];
  yield ["a key twice", { ...tiny, model: { imageSize: 32 } }];
  yield ["a missing key", without];
  for (const value of [{}, [], null, undefined, 1, "x".repeat(1e6), deep, Array(1e6).fill(1)]) {
    yield [`no configuration: ${typeof value}`, value];
  }
}

/** Bytes of this test's own JavaScript: other files may be tested in the same process. */
function memory(): number {
  const { heapTotal, external } = Deno.memoryUsage();
  return heapTotal + external;
}

Deno.test("absurd configurations are refused at once, in a short sentence", () => {
  const before = memory();
  let count = 0;
  for (const [name, value] of absurd()) {
    const refuse = () =>
      assertThrows(
        () => {
          const config = parseRunConfig(value);
          architectureOf(modelConfigOf(config));
          assertStepFits(config, config.batchSize, Infinity);
        },
        UserError,
        undefined,
        name,
      );
    let message = "";
    let ms = Infinity;
    // What takes the time may be another process, but hardly three times.
    for (let attempt = 0; attempt < 3 && ms >= 1000; attempt++) {
      const start = performance.now();
      ({ message } = refuse());
      ms = performance.now() - start;
    }
    assert(ms < 1000, `${name} took ${ms} ms`);
    assert(message.length < 900, `${name}: ${message.length} characters`);
    assert(!/[\p{Cc}\p{Cf}]/u.test(message), name);
    count++;
  }
  assert(count >= 150, `${count}`);
  const grown = (memory() - before) / 2 ** 20;
  assert(grown < 250, `${grown} MiB`);
});

Deno.test("what a real model needs is accepted", () => {
  const widest = { projectionDim: 6144, numHeads: 48, keyDim: 128, transformerLayers: 48 };
  for (
    const fields of [
      { ...widest, transformerUnits: [24576, 6144], imageSize: 224, patchSize: 14 },
      { imageSize: 1024, patchSize: 16, numClasses: 21843 },
      { epochs: 10_000, batchSize: 65_536, imageSize: 8, patchSize: 4 },
      { mlpHeadUnits: [2048, 1024], clipNorm: 1, learningRate: 30, weightDecay: 1 },
      { attentionDropout: 0, mlpDropout: 0.9, beta1: 0, beta2: 0.9999, epsilon: 1e-12 },
    ]
  ) architectureOf(modelConfigOf(parseRunConfig({ ...tiny, ...fields })));
});
