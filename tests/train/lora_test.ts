/** Low-rank adaptation: what it adds is trained and nothing else of the backbone, and merges into it. */
import { assert, assertEquals, assertLess, assertNotEquals, assertRejects } from "@std/assert";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import type { FloatTensor } from "../../lib/checkpoint/training_state.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { isAdapter } from "../../lib/models/lora.ts";
import { trainedVariables } from "../../lib/models/trained.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { fit } from "../../lib/train/fit.ts";
import { loadInitialWeights } from "../../lib/train/initial_weights.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { stepGradients, stepValues } from "../../lib/train/step.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { assignWeights } from "../../lib/train/weights.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { randomImages, valuesOf } from "../models/tiny_model.ts";
import { goOn, shapes, stopAt, tinyRun, train } from "./tiny_run.ts";

const config: RunConfig = {
  ...{ ...tinyRun, transformerLayers: 2, mlpDropout: 0.1 },
  ...{ lora: 3, loraAlpha: 6, ema: 0.5 },
};

const adapted = () =>
  createViTClassifier(modelConfigOf(config), { seed: config.seed, adapters: config });

async function logitsOf(model: tf.LayersModel): Promise<Float32Array> {
  const logits = tf.tidy(() => model.apply(randomImages(3), { training: false }) as tf.Tensor);
  const values = await valuesOf(logits);
  logits.dispose();
  return values;
}

forEachBackend("a model begins with adapters that change no bit of its logits", async () => {
  const plain = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const model = adapted();
  assertEquals(await logitsOf(model), await logitsOf(plain));
  const a = namedVariables(model).get("blocks.0.attention.query.lora_a")!;
  const limit = 1 / Math.sqrt(config.projectionDim);
  const values = await valuesOf(a);
  assertEquals(a.shape, [8, 3]);
  assert(values.every((value) => value !== 0 && Math.abs(value) <= limit));
  for (const each of [plain, model]) each.dispose();
});

forEachBackend("a run trains adapters and head alone, and goes on to the byte", async () => {
  await inFolder(async (folder) => {
    const whole = await train(`${folder}/whole`, config);
    const state = await loadState(whole.folder.last);
    const fresh = adapted();
    const variables = namedVariables(fresh);
    const trained = trainedVariables(variables, config);
    assertEquals([...trained.keys()].filter(isAdapter).length, 8);
    for (const [name, variable] of variables) {
      const before = await valuesOf(variable);
      const isSame = before.every((value, i) => value === state.weights.get(name)!.data[i]);
      assertEquals(isSame, !trained.has(name), name);
    }
    fresh.dispose();
    assertEquals(new Set(state.moments1.keys()), new Set(trained.keys()));

    await train(`${folder}/cut`, config, stopAt(4));
    const { folder: cut, result } = await goOn(`${folder}/cut`);
    const resumed = await loadState(cut.last);
    assertEquals([...resumed.weights], [...state.weights]);
    assertEquals([...resumed.moments2], [...state.moments2]);
    assertEquals([...resumed.averages!], [...state.averages!]);
    assertEquals(result.test, whole.result.test);
  });
});

forEachBackend("weights for other programs have the adapters merged", async () => {
  await inFolder(async (folder) => {
    const { folder: run } = await train(`${folder}/run`, { ...config, learningRate: 0.1 });
    const state = await loadState(run.last);
    const model = adapted();
    assignWeights(model, state.weights, run.last);
    const expected = await logitsOf(model);
    const plain = createViTClassifier(modelConfigOf(config));
    const merged = (await loadWeights(run.last)).weights;
    assertEquals([...merged.keys()].filter(isAdapter), []);
    const kernel = "blocks.1.attention.value.kernel";
    assertNotEquals(merged.get(kernel), state.weights.get(kernel));
    assignWeights(plain, merged, run.last);
    const largest = Math.max(...expected.map(Math.abs));
    (await logitsOf(plain)).forEach((value, i) =>
      assertLess(Math.abs(value - expected[i]!), 1e-5 * largest)
    );
    const isPlain = (weights: ReadonlyMap<string, FloatTensor>) => {
      return assignWeights(plain, weights, "") === undefined &&
        ![...weights.keys()].some(isAdapter);
    };
    assert(isPlain((await loadWeights(run.best)).weights), "the best");
    assert(isPlain((await loadWeights(run.last, "averages")).weights), "the averages");
    for (const each of [plain, model]) each.dispose();

    // A new run begins from them with adapters of its own.
    const initial = await loadInitialWeights(run.best);
    const next = await train(`${folder}/next`, { ...config, epochs: 1 }, { start: { initial } });
    const weights = (await loadState(next.folder.last)).weights;
    assertEquals(weights.get(kernel), initial.weights.get(kernel));
  });
}, { backends: ["wasm", "cpu"] });

forEachBackend(
  "what stays has no gradient: a step multiplies for adapters and head alone",
  async () => {
    const model = adapted();
    const variables = [...trainedVariables(namedVariables(model), config).values()];
    using data = new DeviceDataset(shapes, config);
    const { train } = data;
    const indices = Int32Array.of(0, 1);
    const optimizer = new AdamW(config);
    const parts = { config, model, variables, optimizer, train };
    const { kernels } = await tf.profile(() =>
      tf.tidy(() => {
        return stepGradients(parts, tensorsOf(stepValues(parts, indices, 0))).stats;
      })
    );
    // B of queries and values in two blocks, the head's layer and the classifier.
    assertEquals(kernels.filter(({ name }) => name === "VitLinearGradKernel").length, 6);
    optimizer.dispose();
    model.dispose();
  },
  { backends: ["cpu"], allowTensorLeak: true },
);

forEachBackend("a model without adapters is refused", async () => {
  const model = createViTClassifier(modelConfigOf(config));
  using data = new DeviceDataset(shapes, config);
  await assertRejects(() => fit({ config, model, data }), Error, "lora 3 needs a model with its");
  model.dispose();
}, { backends: ["cpu"] });
