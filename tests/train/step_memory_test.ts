/** What a step is said to need, beside what a captured one has. */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { modelConfigOf, parseRunConfig, preset, type RunConfig } from "../../lib/config/run.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { trainedVariables } from "../../lib/models/trained.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { budgetText, memoryText } from "../../lib/train/memory_text.ts";
import { DeviceMetrics } from "../../lib/train/metrics.ts";
import { TrainingStep } from "../../lib/train/step.ts";
import { stepMemory } from "../../lib/train/step_memory.ts";
import { forEachBackend } from "../backends.ts";

const tiny: RunConfig = { ...preset("tiny"), transformerLayers: 2, batchSize: 16 };

/** In each another part of a step's memory is what counts. */
const variants: Record<string, Partial<RunConfig>> = {
  "many images": {},
  "wide and few images": {
    ...{ batchSize: 2, projectionDim: 192, numHeads: 3, keyDim: 64, mlpLastActivation: false },
    ...{ transformerUnits: [768, 192], mlpDropout: 0 },
  },
  "a wide head": { pooling: "flatten", mlpHeadUnits: [512, 256], batchSize: 8 },
  "a frozen backbone": { freeze: "backbone" },
  "a frozen block": { freeze: "1" },
  "adapters": { lora: 8 },
};

const data = createShapes({ train: 32, test: 2 });

/** Bytes of a captured step, of the weights and of the moments. */
async function measured(config: RunConfig): Promise<number> {
  const model = createViTClassifier(modelConfigOf(config), { adapters: config });
  const variables = [...trainedVariables(namedVariables(model), config).values()];
  const optimizer = new AdamW(config);
  using splits = new DeviceDataset(data, config);
  const metrics = new DeviceMetrics(2);
  const step = new TrainingStep(
    { config, model, variables, optimizer, train: splits.train },
    metrics,
  );
  await step.run(Int32Array.from({ length: config.batchSize }, (_, i) => i), 0);
  assertEquals(step.whyPlain, null);
  const captured = step.captureOf(config.batchSize)!.stats.plannedBytes;
  const weights = model.weights.reduce((sum, each) => sum + 4 * each.read().size, 0);
  const moments = variables.reduce((sum, { size }) => sum + 8 * size, 0);
  step.dispose();
  for (const part of [metrics, optimizer, model]) part.dispose();
  return captured + weights + moments;
}

for (const [name, fields] of Object.entries(variants)) {
  forEachBackend(`${name}: a step needs what is said, within 15 %`, async () => {
    const config = parseRunConfig({ ...tiny, ...fields });
    const { total } = stepMemory(config);
    const ratio = total / await measured(config);
    assertAlmostEquals(ratio, 1, 0.15, `${(total / 1e6).toFixed(2)} MB are said`);
  }, { backends: ["webgpu"] });
}

forEachBackend("without a capture a step needs more, and says of which bound", () => {
  const config = parseRunConfig(tiny);
  const memory = stepMemory(config, { isCaptured: false });
  assert(memory.total > stepMemory(config).total);
  assertEquals(
    memory.total,
    memory.weights + memory.gradients + memory.moments + memory.activations,
  );
  const [headline, parts] = memoryText(memory).split("\n");
  assertMatch(headline!, /^A step of 16 images needs [\d.]+ MB:$/);
  assertMatch(
    parts!,
    /^ {2}- weights .+ MB - gradients .+ MB - moments .+ MB - activations .+ MB$/,
  );
  const huge = { batch: 4096, weights: 346.5e6, gradients: 346.5e6, moments: 692.9e6 };
  for (
    const line of memoryText({ ...huge, activations: 99.94e9, total: 101e9 }, "f16").split("\n")
  ) {
    assert(line.length <= 80, line);
  }
  const wanted = tf.getBackend() === "wasm"
    ? "wasm can address 4.3 GB."
    : "Its largest tensor has 0.5 MB, of 4.3 GB that one may have.";
  assertStringIncludes(budgetText(config, memory), wanted);
}, { backends: ["wasm", "cpu"] });

Deno.test("weights and moments are counted as docs/finetuning.md has them", () => {
  const base: RunConfig = {
    ...preset("finetune"),
    ...{ projectionDim: 768, numHeads: 12, transformerUnits: [3072, 768], numClasses: 1000 },
  };
  const gigabytes = ({ weights, gradients, moments }: ReturnType<typeof stepMemory>) =>
    (weights + gradients + moments) / 1e9;
  assertAlmostEquals(gigabytes(stepMemory(base)), 1.385, 0.01);
  assertAlmostEquals(gigabytes(stepMemory({ ...base, freeze: "backbone" })), 0.355, 0.01);
  // More tokens of the same model.
  const [small, large] = [224, 384].map((imageSize) => stepMemory({ ...base, imageSize }));
  assertAlmostEquals(large!.activations / small!.activations, 577 / 197, 0.02);
});
