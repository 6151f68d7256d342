/**
 * The fields that decide a model's shape and its behaviour in training.
 *
 * No call of Deno here or below, because the browser's bundle takes this file. The bounds are above
 * every published Vision Transformer, ViT-22B included (48 layers of width 6,144, MLPs of 24,576).
 */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { gelus, initializers } from "../layers/layer.ts";
import { distillations } from "../layers/poolings/pooling.ts";
import { type PoolingName, poolings } from "../layers/poolings.ts";
import { type PositionEmbeddingName, positionEmbeddings } from "../layers/position_embeddings.ts";
import { type TokenizerName, tokenizers } from "../layers/tokenizers.ts";
import { count, rate, younger } from "./fields.ts";
import { nameOf, type Origin, parseFields } from "./parse.ts";

const side = count.max(8192);
const units = count.max(2 ** 18);

/** Each field of a model's configuration. */
export const modelFields = {
  imageSize: side.describe(
    "side of the square input image after resizing, in pixels; the Keras example enlarges CIFAR's " +
      "32 to 72",
  ),
  channels: count.max(1024).describe("channels of an image; 3 for colour"),
  patchSize: side.describe(
    "side of a patch in pixels; must divide imageSize; half of it is four times the tokens; of no " +
      "effect with tokenizer conv",
  ),
  projectionDim: count.max(2 ** 16).describe(
    "width of a token; 64 for images of 32 pixels, 192, 384 and 768 in ViT-Ti, ViT-S and ViT-B",
  ),
  numHeads: count.max(1024).describe(
    "attention heads; projectionDim / 64 in ViT-Ti, ViT-S and ViT-B",
  ),
  keyDim: count.max(128).describe(
    "width of one head's queries, keys and values; projectionDim / numHeads in the ViT paper",
  ),
  transformerLayers: count.max(1024).describe("transformer blocks; 12 in ViT-Ti, ViT-S and ViT-B"),
  transformerUnits: z.array(units).min(1).max(16).describe(
    "widths of a block's MLP; the last must be projectionDim, the first is usually 2 to 4 times that",
  ),
  mlpHeadUnits: z.array(units).max(16).describe(
    "widths of the hidden layers before the classifier; none with pooling mean or token, as in " +
      "the ViT paper",
  ),
  numClasses: z.int().min(2).max(2 ** 20).describe("classes; by default those of the data set"),
  pooling: z.enum(Object.keys(poolings) as PoolingName[]).describe(
    "how tokens become one vector: flatten, all side by side, as the Keras example; mean, with far " +
      "fewer weights; token, a learned class token, as the ViT paper; sequence, their sum by learned weights, as CCT",
  ),
  attentionDropout: rate.describe(
    "dropout of the attention weights; 0 for a model that does not overfit",
  ),
  mlpDropout: rate.describe(
    "dropout after each layer of a block's MLP; 0 for a model that does not overfit",
  ),
  headDropout: rate.describe(
    "dropout after pooling and after each hidden layer of the head; 0.5 for a wide head, 0 for none",
  ),
  dropPath: younger(rate, 0).describe(
    "stochastic depth: share of images for which the last block's branches are left out, rising " +
      "in equal steps from 0 in the first block; 0.1 pays from about 8 blocks and 100 epochs, 0 below",
  ),
  layerScale: younger(z.number().min(0).max(1), 0).describe(
    "LayerScale: where a learned factor of each channel of each residual branch begins; 0 for none; " +
      "for deep models, 0.1 up to 18 blocks, 1e-5 up to 24, 1e-6 beyond",
  ),
  localityAttention: younger(z.boolean(), false).describe(
    "locality self-attention (LSA): no token attends to itself, and the softmax's temperature is " +
      "learned for each head; for training from random weights on a small data set",
  ),
  layerNormEpsilon: z.number().positive().max(1).describe(
    "added to the variance in LayerNorm; 1e-6 in Keras, 1e-5 in PyTorch",
  ),
  gelu: younger(z.enum(gelus), "exact").describe(
    "GELU by the normal distribution, or nearly so by tanh, as some pretrained models have it",
  ),
  qkvBias: younger(z.boolean(), true).describe(
    "whether queries, keys and values have a bias; false for pretrained models that have none",
  ),
  classToken: younger(z.boolean(), false).describe(
    "a learned token before the others even where pooling leaves it out; pooling token has one anyway",
  ),
  distillation: younger(z.enum(distillations), "none").describe(
    "DeiT's second learned token: none; token, which only takes part; heads, which has a classifier " +
      "of its own, the logits being the mean of both",
  ),
  finalNorm: younger(z.enum(["tokens", "pooled"]), "tokens").describe(
    "what the last LayerNorm is applied to: the tokens, or what pooling made of them (fc_norm)",
  ),
  tokenizer: younger(z.enum(Object.keys(tokenizers) as TokenizerName[]), "patches").describe(
    "how an image becomes tokens: square patches; shifted, patches that see half a patch beyond " +
      "their edges (SPT), for small data sets; conv, stages of convolution and pooling",
  ),
  convChannels: younger(z.array(units).max(16), []).describe(
    "filters of each stage of tokenizer conv, which halves the image; the last must be projectionDim",
  ),
  positionEmbedding: younger(
    z.enum(Object.keys(positionEmbeddings) as PositionEmbeddingName[]),
    "learned",
  ).describe("what tells the tokens' places: learned numbers, fixed sines and cosines, or nothing"),
  mlpLastActivation: younger(z.boolean(), true).describe(
    "GELU after the last layer of a block's MLP too, as in the Keras example; the ViT paper has none",
  ),
  initializer: younger(z.enum(initializers), "glorot").describe(
    "how weights begin: Glorot-uniform as in Keras, or a truncated normal of deviation 0.02",
  ),
};

const modelSchema = z.strictObject(modelFields);

/** @internal */
type Schema = typeof modelSchema;

/** A Vision Transformer's configuration. */
export type ViTConfig = z.infer<Schema>;

/**
 * Checks a model configuration; keys of a run that are no model fields are refused.
 * @throws {UserError} naming the first wrong field, its value and what it may be.
 *
 * @example
 * ```ts
 * import { modelConfigOf, parseViTConfig, preset } from "../../mod.ts";
 *
 * const config = parseViTConfig({ ...modelConfigOf(preset("tiny")), patchSize: 8 });
 * console.log(config.imageSize / config.patchSize); // 4
 * ```
 */
export function parseViTConfig(value: unknown): ViTConfig {
  const config = parseFields(modelSchema, value);
  checkModelShape(config);
  return config;
}

/**
 * Checks what the fields of a model must be to each other.
 * @throws {UserError} naming both fields, their values and what would do.
 */
export function checkModelShape(config: ViTConfig, origin?: Origin): void {
  const name = (key: keyof ViTConfig) => nameOf(key, origin);
  const { projectionDim } = config;
  const fault = tokenizers[config.tokenizer].fault(config, name);
  if (fault !== undefined) throw new UserError(fault);
  if (config.localityAttention) {
    const { side } = tokenizers[config.tokenizer];
    if (side(config) === 1 && !poolings[config.pooling].classToken) {
      throw new UserError(
        `${
          name("localityAttention")
        } true needs two tokens, since none attends to itself, and the ` +
          `image has one; choose larger images, a smaller ${name("patchSize")}, or false.`,
      );
    }
  }
  if (config.positionEmbedding === "sincos2d" && projectionDim % 4 !== 0) {
    throw new UserError(
      `${name("positionEmbedding")} sincos2d needs a ${
        name("projectionDim")
      } that divides by 4, not ` +
        `${projectionDim}; choose ${Math.ceil(projectionDim / 4) * 4}.`,
    );
  }
  if (config.distillation !== "none" && config.pooling !== "token") {
    throw new UserError(
      `${name("distillation")} ${config.distillation} has a token beside the class token, which ` +
        `${name("pooling")} ${config.pooling} does not take; choose pooling token, or none.`,
    );
  }
  if (config.distillation === "heads" && config.mlpHeadUnits.length > 0) {
    throw new UserError(
      `${name("distillation")} heads has a classifier on each token, and ${name("mlpHeadUnits")} ` +
        `[${config.mlpHeadUnits}] a head of its own; leave one of them out.`,
    );
  }
  const last = config.transformerUnits.at(-1);
  if (last !== projectionDim) {
    throw new UserError(
      `The last of ${name("transformerUnits")} is ${last} but must equal ` +
        `${
          name("projectionDim")
        } ${projectionDim}, because the MLP's output is added to the tokens.`,
    );
  }
}
