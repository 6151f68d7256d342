import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { modelConfigOf, preset, type ViTConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import {
  createViTClassifier,
  dropPathRateOf,
  namedVariables,
} from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { dropThreshold, randomBits, streamKey, streamOfName } from "../../lib/random.ts";
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
  const smallData: Partial<ViTConfig> = {
    ...{ tokenizer: "shifted", localityAttention: true, layerScale: 0.1 },
  };
  for (
    const [pooling, fields] of [
      ...(["flatten", "mean", "token"] as const).map((pooling) => [pooling, {}] as const),
      ["sequence", compact],
      ["token", compact],
      ["mean", { ...compact, positionEmbedding: "sincos2d" }],
      ["token", { ...smallData, dropPath: 0.2 }],
      ["mean", smallData],
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

const plainRates = { attentionDropout: 0, mlpDropout: 0, headDropout: 0 };

forEachBackend(
  "stochastic depth leaves both branches of a block out, by the linear rule",
  async () => {
    const config = { ...tinyModel, ...plainRates, transformerLayers: 3, dropPath: 0.6 };
    assertEquals([0, 1, 2].map((i) => dropPathRateOf(config, i)), [0, 0.3, 0.6]);
    assertEquals(dropPathRateOf({ dropPath: 0.6, transformerLayers: 1 }, 0), 0.6);
    const batch = 12;
    const model = createViTClassifier(config, { seed: 1 });
    const without = createViTClassifier({ ...config, dropPath: 0 }, { seed: 1 });
    const stepKey = tf.tensor1d([9, 4], "int32");
    let dropped = 0;
    const [found, expected, evaluated, plain] = tf.tidy(() => {
      const images = randomImages(batch);
      const apply = (name: string, x: tf.Tensor) => {
        const y = without.getLayer(name).apply(x, { training: false }) as tf.Tensor | tf.Tensor[];
        return Array.isArray(y) ? y[0]! : y;
      };
      let tokens = apply("patch_encoder", apply("patches", images));
      for (const block of [0, 1, 2]) {
        const rate = 0.3 * block;
        for (const [norm, branch] of [["norm1", "attention"], ["norm2", "mlp"]] as const) {
          const name = `blocks.${block}.${branch}`;
          const key = streamKey(9, streamOfName(`${name}/path`), 4);
          const factors = Array.from({ length: batch }, (_, image) => {
            const isDropped = randomBits(key, image) < dropThreshold(rate);
            if (isDropped) dropped++;
            return isDropped ? 0 : 1 / (1 - rate);
          });
          const x = apply(name, apply(`blocks.${block}.${norm}`, tokens));
          tokens = tokens.add(x.mul(tf.tensor3d(factors, [batch, 1, 1])));
        }
      }
      const features = apply("head", apply("pooling", apply("norm", tokens)));
      return [
        model.apply(images, { training: true, stepKey }) as tf.Tensor,
        apply("classifier", features),
        model.apply(images, { training: false }) as tf.Tensor,
        without.apply(images, { training: false }) as tf.Tensor,
      ];
    });
    assert(dropped > 5 && dropped < 40, `${dropped} branches were left out`);
    const [logits, reference] = [await valuesOf(found!), await valuesOf(expected!)];
    logits.forEach((x, i) => assertAlmostEquals(x, reference[i]!, 1e-5));
    // In evaluation nothing is left out, and nothing scaled.
    assertEquals(await valuesOf(evaluated!), await valuesOf(plain!));
    tf.dispose([stepKey, found!, expected!, evaluated!, plain!]);
    model.dispose();
    without.dispose();
  },
);

forEachBackend("LayerScale and the temperatures of local attention do what they say", async () => {
  const fields = { ...tinyModel, ...plainRates, localityAttention: true, layerScale: 0.25 };
  const model = createViTClassifier(fields, { seed: 1 });
  const without = createViTClassifier({ ...fields, layerScale: 0 }, { seed: 1 });
  const scales = [0.5, 3];
  const given = tf.tensor1d(scales);
  for (const each of [model, without]) {
    namedVariables(each).get("blocks.0.attention.scale")!.assign(given);
  }
  const expected = tf.tidy(() => {
    const images = randomImages(2);
    const weights = namedVariables(without);
    const apply = (name: string, x: tf.Tensor) => {
      const y = without.getLayer(name).apply(x) as tf.Tensor | tf.Tensor[];
      return Array.isArray(y) ? y[0]! : y;
    };
    const dense = (name: string, x: tf.Tensor) => {
      const [kernel, bias] = ["kernel", "bias"].map((part) =>
        weights.get(`blocks.0.attention.${name}.${part}`)!
      );
      return tf.dot(x.reshape([-1, 8]), kernel!).add(bias!).reshape([2, 4, 2, 4]);
    };
    let tokens = apply("patch_encoder", apply("patches", images));
    const x = apply("blocks.0.norm1", tokens);
    // b n h k -> b h n k
    const [query, key, value] = ["query", "key", "value"].map((name) =>
      dense(name, x).transpose([0, 2, 1, 3])
    );
    const scores = tf.matMul(query!, key!, false, true).div(2)
      .mul(tf.tensor(scales, [2, 1, 1])).sub(tf.eye(4).mul(1e9));
    const mixed = tf.matMul(tf.softmax(scores), value!).transpose([0, 2, 1, 3]);
    const attended = dense("output", mixed).reshape([2, 4, 8]);
    tokens = tokens.add(attended.mul(0.25));
    tokens = tokens.add(apply("blocks.0.mlp", apply("blocks.0.norm2", tokens)).mul(0.25));
    return apply("classifier", apply("head", apply("pooling", apply("norm", tokens))));
  });
  const [found, reference] = [await logitsOf(model), await valuesOf(expected)];
  found.forEach((x, i) => assertAlmostEquals(x, reference[i]!, 1e-5));
  tf.dispose([given, expected]);
  for (const each of [model, without]) each.dispose();
}, { backends: ["webgpu", "cpu"] });

forEachBackend("a model with stochastic depth is trained by fit, saved and loaded", async () => {
  const config = { ...tinyModel, transformerLayers: 2, dropPath: 0.5 };
  const model = createViTClassifier(config, { seed: 1 });
  const optimizer = new AdamW();
  model.compile({ optimizer, loss: "meanSquaredError" });
  const [images, labels] = [randomImages(4), randomTensor([4, 100])];
  await model.fit(images, labels, { epochs: 1, verbose: 0 });
  const loaded = await tf.loadLayersModel(tf.io.fromMemory(await savedOf(model)));
  for (const name of ["blocks.1.attention", "blocks.1.mlp"]) {
    assertEquals(loaded.getLayer(name).getConfig().dropPathRate, 0.5);
    assertEquals(Object.hasOwn(model.getLayer("blocks.0.mlp").getConfig(), "dropPathRate"), false);
  }
  assertEquals(await logitsOf(loaded), await logitsOf(model));
  for (const each of [loaded, model]) each.dispose();
  optimizer.dispose();
  tf.dispose([images, labels]);
}, { backends: ["cpu"] });

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

const savedModels: Record<string, Partial<ViTConfig>> = {
  "pooling flatten": { pooling: "flatten" },
  "pooling mean": { pooling: "mean" },
  "pooling token": { pooling: "token" },
  "shifted patches, local attention, LayerScale": {
    ...{ tokenizer: "shifted", localityAttention: true, layerScale: 0.1 },
  },
};
for (const [name, fields] of Object.entries(savedModels)) {
  forEachBackend(`a saved model is loaded with the same logits, ${name}`, async () => {
    const model = createViTClassifier({ ...tinyModel, ...fields }, { seed: 5 });
    const loaded = await tf.loadLayersModel(tf.io.fromMemory(await savedOf(model)));
    assertEquals(await logitsOf(loaded), await logitsOf(model));
    assertEquals([...namedVariables(loaded).keys()], [...namedVariables(model).keys()]);
    assertEquals(loaded.countParams(), model.countParams());
    for (const layer of model.layers) {
      assertEquals(loaded.getLayer(layer.name).getConfig(), layer.getConfig(), layer.name);
    }
    loaded.dispose();
    model.dispose();
  }, { backends: fields.pooling === "token" ? undefined : ["cpu"] });
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
