import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { modelConfigOf, preset, type ViTConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomImages, randomTensor, tinyModel, valuesOf } from "./tiny_model.ts";

async function weightsOf(model: tf.LayersModel): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>();
  for (const [name, variable] of namedVariables(model)) weights.set(name, await valuesOf(variable));
  return weights;
}

/** Logits of two fixed images. */
async function logitsOf(model: tf.LayersModel): Promise<Float32Array> {
  const logits = tf.tidy(() => model.predict(randomImages(2)) as tf.Tensor);
  const values = await valuesOf(logits);
  logits.dispose();
  return values;
}

/** What a file of the saved model would bring back. */
async function savedOf(
  model: tf.LayersModel,
  config?: tf.io.SaveConfig,
): Promise<tf.io.ModelArtifacts> {
  let saved: tf.io.ModelArtifacts | undefined;
  const handler = tf.io.withSaveHandler((artifacts) => {
    saved = artifacts;
    const info = { dateSaved: new Date(0), modelTopologyType: "JSON" as const };
    return Promise.resolve({ modelArtifactsInfo: info });
  });
  await model.save(handler, config);
  const { weightData, ...json } = saved!;
  return { ...JSON.parse(JSON.stringify(json)), weightData };
}

forEachBackend("the presets have the published numbers of parameters", () => {
  for (
    const [name, parameters, tensors] of [
      ["keras-cifar100", 21_759_012, 139],
      ["tiny", 147_748, 71],
    ] as const
  ) {
    const model = createViTClassifier(modelConfigOf(preset(name)));
    assertEquals([model.countParams(), model.weights.length], [parameters, tensors], name);
    model.dispose();
  }
}, { backends: ["wasm"] });

forEachBackend("names of weights do not change from one instance to the next", () => {
  const models = [createViTClassifier(tinyModel), createViTClassifier(tinyModel)];
  const [names, again] = models.map((model) => [...namedVariables(model).keys()]);
  assertEquals(again, names);
  assertEquals(names, [
    "patch_encoder.projection.kernel",
    "patch_encoder.projection.bias",
    "patch_encoder.position_embedding",
    "blocks.0.norm1.gamma",
    "blocks.0.norm1.beta",
    ...["query", "key", "value", "output"].flatMap((name) => [
      `blocks.0.attention.${name}.kernel`,
      `blocks.0.attention.${name}.bias`,
    ]),
    "blocks.0.norm2.gamma",
    "blocks.0.norm2.beta",
    ...["blocks.0.mlp.0", "blocks.0.mlp.1"].flatMap((name) => [`${name}.kernel`, `${name}.bias`]),
    "norm.gamma",
    "norm.beta",
    "head.0.kernel",
    "head.0.bias",
    "classifier.kernel",
    "classifier.bias",
  ]);
  for (const model of models) model.dispose();
}, { backends: ["cpu"] });

/** What the first backend of the test below found, for the others to agree with. */
let firstWeights: Map<string, Float32Array> | undefined;

forEachBackend(
  "one seed gives the same weights on every backend, another seed others",
  async () => {
    const [model, other] = [1, 2].map((seed) => createViTClassifier(tinyModel, { seed }));
    const weights = await weightsOf(model!);
    firstWeights ??= weights;
    assertEquals(weights, firstWeights);
    const others = await weightsOf(other!);
    for (const [name, values] of weights) {
      const isConstant = /bias|gamma|beta/.test(name);
      (isConstant ? assertEquals : assertNotEquals)(others.get(name), values, name);
    }
    model!.dispose();
    other!.dispose();
  },
);

forEachBackend("weights start within Keras's limits, and fill them", async () => {
  const config: ViTConfig = {
    ...tinyModel,
    projectionDim: 64,
    numHeads: 4,
    keyDim: 64,
    transformerUnits: [128, 64],
  };
  const model = createViTClassifier(config);
  const weights = await weightsOf(model);
  const glorot = (fanIn: number, fanOut: number) => Math.sqrt(6 / (fanIn + fanOut));
  const limits: Record<string, number> = {
    "patch_encoder.projection.kernel": glorot(48, 64),
    "patch_encoder.position_embedding": 0.05,
    "blocks.0.attention.query.kernel": Math.sqrt(6 / (4 * 64 + 64 * 64)),
    "blocks.0.attention.key.kernel": Math.sqrt(6 / (4 * 64 + 64 * 64)),
    "blocks.0.attention.value.kernel": Math.sqrt(6 / (4 * 64 + 64 * 64)),
    "blocks.0.attention.output.kernel": Math.sqrt(6 / (64 * 4 + 64 * 4)),
    "blocks.0.mlp.0.kernel": glorot(64, 128),
    "blocks.0.mlp.1.kernel": glorot(128, 64),
    "head.0.kernel": glorot(64, 12),
    "classifier.kernel": glorot(12, 100),
  };
  for (const [name, values] of weights) {
    const limit = limits[name];
    const greatest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    if (limit === undefined) {
      assertEquals(values.every((x) => x === (name.endsWith("gamma") ? 1 : 0)), true, name);
      continue;
    }
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    assert(greatest <= limit * 1.0001 && greatest > 0.97 * limit, `${name} ${greatest}`);
    // Four standard deviations of the mean of so many uniform numbers.
    assert(Math.abs(mean) < 4 * limit / Math.sqrt(3 * values.length), `${name} ${mean}`);
    delete limits[name];
  }
  assertEquals(limits, {});
  model.dispose();
}, { backends: ["cpu"] });

forEachBackend("every pooling gives logits, the same on every call", async () => {
  for (const pooling of ["flatten", "mean", "token"] as const) {
    const model = createViTClassifier({ ...tinyModel, pooling });
    const logits = await logitsOf(model);
    assertEquals(logits.length, 200);
    assert(logits.every(Number.isFinite));
    assertEquals(await logitsOf(model), logits);
    const shapes = { flatten: [32, 12], mean: [8, 12], token: [8, 12] };
    const variables = namedVariables(model);
    assertEquals(variables.get("head.0.kernel")!.shape, shapes[pooling]);
    assertEquals(
      variables.get("patch_encoder.position_embedding")!.shape,
      [pooling === "token" ? 5 : 4, 8],
    );
    assertEquals(variables.has("patch_encoder.class_token"), pooling === "token");
    model.dispose();
  }
});

forEachBackend("every weight of every pooling and tokenizer has a gradient", async () => {
  const compact: Partial<ViTConfig> = {
    ...{ tokenizer: "conv", convChannels: [6, 8], mlpLastActivation: false },
  };
  for (
    const [pooling, fields] of [
      ...(["flatten", "mean", "token"] as const).map((pooling) => [pooling, {}] as const),
      ["sequence", compact],
      ["token", compact],
      ["mean", { ...compact, positionEmbedding: "sincos2d" }],
    ] as const
  ) {
    const model = createViTClassifier({ ...tinyModel, pooling, ...fields });
    const variables = namedVariables(model);
    const { value, grads } = tf.tidy(() => {
      const images = randomImages(2);
      const stepKey = tf.tensor1d([1, 0], "int32");
      return tf.variableGrads(() => {
        const logits = model.apply(images, { training: true, stepKey }) as tf.Tensor2D;
        return logits.square().mean() as tf.Scalar;
      }, [...variables.values()]);
    });
    for (const [name, variable] of variables) {
      const gradient = await valuesOf(grads[variable.name]!);
      assert(gradient.every(Number.isFinite), name);
      // The softmax of sequence pooling does not see its bias.
      if (name === "pooling.attention.bias") continue;
      assert(gradient.some((x) => x !== 0), `${pooling}: the gradient of ${name} is 0`);
    }
    tf.dispose([value, grads]);
    model.dispose();
  }
});

forEachBackend("summary() lists the layers and the parameters", () => {
  const model = createViTClassifier(tinyModel);
  const lines: string[] = [];
  model.summary(undefined, undefined, (line: string) => lines.push(line));
  const text = lines.join("\n");
  for (const expected of ["patch_encoder", "blocks.0.attention", "VitMlp", "[null,100]"]) {
    assert(text.includes(expected), `${expected} is not in\n${text}`);
  }
  assert(text.includes(`Total params: ${model.countParams()}`), text);
  model.dispose();
}, { backends: ["cpu"] });

for (const pooling of ["flatten", "mean", "token"] as const) {
  forEachBackend(`a saved model is loaded with the same logits, pooling ${pooling}`, async () => {
    const model = createViTClassifier({ ...tinyModel, pooling }, { seed: 5 });
    const loaded = await tf.loadLayersModel(tf.io.fromMemory(await savedOf(model)));
    assertEquals(await logitsOf(loaded), await logitsOf(model));
    assertEquals([...namedVariables(loaded).keys()], [...namedVariables(model).keys()]);
    assertEquals(loaded.countParams(), model.countParams());
    for (const layer of model.layers) {
      assertEquals(loaded.getLayer(layer.name).getConfig(), layer.getConfig(), layer.name);
    }
    loaded.dispose();
    model.dispose();
  }, { backends: pooling === "token" ? undefined : ["cpu"] });
}

forEachBackend("compile and fit train it as any tfjs model", async () => {
  const model = createViTClassifier(tinyModel, { seed: 1 });
  model.compile({
    optimizer: new AdamW({ learningRate: 1e-2 }),
    loss: (labels: tf.Tensor, logits: tf.Tensor) => tf.losses.softmaxCrossEntropy(labels, logits),
    metrics: ["accuracy"],
  });
  const images = randomImages(8);
  const labels = tf.tidy(() => tf.oneHot(tf.range(0, 8, 1, "int32"), 100).toFloat());
  const history = await model.fit(images, labels, {
    epochs: 12,
    batchSize: 8,
    shuffle: false,
    verbose: 0,
  });
  const losses = history.history.loss as number[];
  assertAlmostEquals(losses[0]!, Math.log(100), 1);
  assert(losses.at(-1)! < losses[0]! - 1, `the loss went from ${losses[0]} to ${losses.at(-1)}`);
  assert("acc" in history.history);
  model.optimizer.dispose();
  tf.dispose([images, labels]);
  model.dispose();
});

forEachBackend("a model saved with its optimizer goes on with the same state", async () => {
  const model = createViTClassifier(tinyModel, { seed: 1 });
  const decayExclude = ["position_embedding", "bias"];
  model.compile({
    optimizer: new AdamW({ learningRate: 2e-3, decayConvention: "keras", decayExclude }),
    loss: "meanSquaredError",
  });
  const [images, labels] = [randomImages(4), randomTensor([4, 100])];
  await model.fit(images, labels, { epochs: 2, verbose: 0 });
  const saved = await savedOf(model, { includeOptimizer: true });
  const loaded = await tf.loadLayersModel(tf.io.fromMemory(saved));
  const optimizer = loaded.optimizer as AdamW;
  assertEquals(optimizer.getConfig(), model.optimizer.getConfig());
  assertEquals(optimizer.decayExclude, decayExclude);
  assertEquals(optimizer.step, 2);
  for (const each of [model, loaded]) {
    // The dropout keys advance by themselves, so the update is given.
    const gradients = each.trainableWeights.map((weight) => ({
      name: (weight.read() as tf.Variable).name,
      tensor: tf.ones(weight.shape as number[]),
    }));
    each.optimizer.applyGradients(gradients);
    tf.dispose(gradients.map(({ tensor }) => tensor));
  }
  assertEquals(await weightsOf(loaded), await weightsOf(model));
  for (const each of [model, loaded]) {
    each.optimizer.dispose();
    each.dispose();
  }
  tf.dispose([images, labels]);
  // tfjs leaves the number of updates behind, as a scalar, at each save.
}, { backends: ["cpu"], allowTensorLeak: true });

Deno.test("a wrong configuration is refused before anything is built", () => {
  const config = { ...tinyModel, patchSize: 3 };
  assertThrows(() => createViTClassifier(config), UserError, "not divisible by patchSize 3");
});
