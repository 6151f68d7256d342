import { tf } from "../tfjs.ts";
import { parseViTConfig, type ViTConfig } from "../config/model.ts";
import { Dense } from "../layers/dense.ts";
import { DistilledClassifier } from "../layers/distilled_classifier.ts";
import { Dropout } from "../layers/dropout.ts";
import type { GivenWeights } from "../layers/layer.ts";
import { LayerNormalization } from "../layers/layer_normalization.ts";
import { Mlp } from "../layers/mlp.ts";
import { MultiHeadAttention } from "../layers/multi_head_attention.ts";
import { architectureOf } from "./architecture.ts";
import { type LoraFields, loraScale } from "./lora.ts";

/**
 * A Vision Transformer for classification (Dosovitskiy et al., 2020), in the form of the Keras
 * example "Image classification with Vision Transformer".
 *
 * Input `[batch, imageSize, imageSize, channels]`, normalized; output `[batch, numClasses]`
 * logits. The normalization that starts a residual branch also passes its input on, and the layer
 * that ends the branch takes that as its second input and adds it.
 *
 * Axes beside the tensors: b images, h by w pixels of c channels, n tokens of width d, f features.
 *
 * @param config the shape of the model; see the presets
 * @param options.seed seed of the initial weights
 * @param options.given weights that begin with these values, by plain name; random numbers are drawn
 * for the others alone
 * @param options.adapters a run's configuration: with its `lora` each attention has the weights of a
 * low-rank adaptation
 * @throws {UserError} when the configuration is wrong, or describes an absurdly large model
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, preset, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const model = createViTClassifier(modelConfigOf(preset("tiny")), { seed: 1 });
 * console.log(model.countParams()); // 147748
 * ```
 */
export function createViTClassifier(
  config: ViTConfig,
  options: { seed?: number; given?: GivenWeights; adapters?: LoraFields } = {},
): tf.LayersModel {
  const c = parseViTConfig(config);
  const { tokenizer, pooling, classToken, prefix, heads } = architectureOf(c);
  const seed = options.seed ?? 0;
  const { given, adapters } = options;
  const adapter = adapters && adapters.lora > 0
    ? { rank: adapters.lora, scale: loraScale(adapters) }
    : undefined;
  const start = { seed, initializer: c.initializer, given };
  const epsilon = c.layerNormEpsilon;

  // b h w c
  const images = tf.input({ shape: [c.imageSize, c.imageSize, c.channels], name: "images" });
  const normedAndResidual = (name: string, x: tf.SymbolicTensor) =>
    new LayerNormalization({ name, epsilon, residual: true, given }).apply(
      x,
    ) as tf.SymbolicTensor[];
  // b h w c -> b n d
  let tokens = tokenizer.apply(images, c, {
    name: tokenizer.encoder,
    ...start,
    classToken,
    distillationToken: c.distillation !== "none",
    positionEmbedding: c.positionEmbedding,
  });

  for (let i = 0; i < c.transformerLayers; i++) {
    const name = `blocks.${i}`;
    const branch = { dropPathRate: dropPathRateOf(c, i), layerScale: c.layerScale };
    // b n d -> b n d, as is the next
    tokens = new MultiHeadAttention({
      name: `${name}.attention`,
      ...start,
      numHeads: c.numHeads,
      keyDim: c.keyDim,
      dropoutRate: c.attentionDropout,
      locality: c.localityAttention,
      qkvBias: c.qkvBias,
      adapter,
      ...branch,
    }).apply(normedAndResidual(`${name}.norm1`, tokens)) as tf.SymbolicTensor;
    tokens = new Mlp({
      name: `${name}.mlp`,
      ...start,
      units: c.transformerUnits,
      dropoutRate: c.mlpDropout,
      ...branch,
      lastActivation: c.mlpLastActivation,
      gelu: c.gelu,
    }).apply(normedAndResidual(`${name}.norm2`, tokens)) as tf.SymbolicTensor;
  }

  const norm = new LayerNormalization({ name: "norm", epsilon, given });
  const pool = pooling.layer("pooling", { ...start, prefix, heads });
  // b n d -> b f
  let features = (c.finalNorm === "tokens" ? [norm, pool] : [pool, norm])
    .reduce((x, layer) => layer.apply(x) as tf.SymbolicTensor, tokens);
  if (c.headDropout > 0) {
    const dropout = new Dropout({ name: "pooling_dropout", seed, rate: c.headDropout });
    features = dropout.apply(features) as tf.SymbolicTensor;
  }
  if (c.mlpHeadUnits.length > 0) {
    const head = { name: "head", ...start, units: c.mlpHeadUnits, dropoutRate: c.headDropout };
    features = new Mlp({ ...head, gelu: c.gelu }).apply(features) as tf.SymbolicTensor;
  }
  // b f -> b classes
  const Classifier = heads === 2 ? DistilledClassifier : Dense;
  const logits = new Classifier({ name: "classifier", ...start, units: c.numClasses })
    .apply(features);
  return tf.model({ inputs: images, outputs: logits as tf.SymbolicTensor, name: "vit_classifier" });
}

/**
 * The rate of stochastic depth in a block, by the linear rule: 0 in the first, `dropPath` in the last,
 * as in timm. An only block is the last.
 * @param index of the block, from 0
 */
export function dropPathRateOf(
  { dropPath, transformerLayers }: Pick<ViTConfig, "dropPath" | "transformerLayers">,
  index: number,
): number {
  return transformerLayers === 1 ? dropPath : dropPath * index / (transformerLayers - 1);
}

/**
 * The model's variables by plain name, such as `blocks.0.attention.query.kernel`, in the order of
 * the layers. The names do not change from one instance of a model to the next.
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, preset, selectBackend } from "../../mod.ts";
 * import { namedVariables } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const model = createViTClassifier(modelConfigOf(preset("tiny")), { seed: 1 });
 * console.log(namedVariables(model).get("classifier.kernel")!.shape); // [ 64, 100 ]
 * ```
 */
export function namedVariables(model: tf.LayersModel): Map<string, tf.Variable> {
  return new Map(model.weights.map((weight) => {
    const plain = (weight as tf.LayerVariable).originalName.replaceAll("/", ".");
    return [plain, weight.read() as tf.Variable];
  }));
}
