/** Weights of ours in the layouts of timm, Hugging Face and torchvision, with the files that go along. */
import { bytesOf, encodeHead, layOut, type TensorData } from "../checkpoint/safetensors.ts";
import type { ViTConfig } from "../config/model.ts";
import { UserError } from "../errors.ts";
import type { PortableModel } from "../export/portable_model.ts";
import { writeFileAtomic } from "../files.ts";
import { ioError } from "../io_error.ts";
import { checkWeightShapes } from "../models/architecture.ts";
import { modelFile } from "./files.ts";
import {
  hfVariants,
  type LayoutName,
  type LayoutNames,
  layouts,
  type Preparation,
} from "./layouts.ts";
import { foreignTensors, toTheirs } from "./tensors.ts";
import { ownKey } from "./told.ts";

/** What a layout's library has no place for, of a model's configuration; undefined where it has. */
type Lack = (config: ViTConfig) => string | undefined;

/** No library lets its files say an epsilon, so it must make no difference beside theirs. */
const MOST_EPSILON = 1e-6;

/** What none of the three has. */
const commonLack: Lack = (c) =>
  c.tokenizer !== "patches"
    ? `tokenizer ${c.tokenizer}`
    : c.positionEmbedding !== "learned"
    ? `positionEmbedding ${c.positionEmbedding}`
    : c.pooling !== "token" && c.pooling !== "mean"
    ? `pooling ${c.pooling}`
    : c.localityAttention
    ? "localityAttention"
    : c.transformerUnits.length !== 2
    ? `an MLP of ${c.transformerUnits.length} layers (transformerUnits)`
    : c.mlpLastActivation
    ? "GELU after the MLP's last layer (mlpLastActivation)"
    : c.mlpHeadUnits.length > 0
    ? "hidden layers before the classifier (mlpHeadUnits)"
    : c.numHeads * c.keyDim !== c.projectionDim
    ? `${c.numHeads} heads of ${c.keyDim} numbers in a width of ${c.projectionDim}`
    : undefined;

const lacks: Record<LayoutName, Lack> = {
  timm: (c) =>
    c.layerNormEpsilon > MOST_EPSILON
      ? `layerNormEpsilon ${c.layerNormEpsilon}`
      : c.distillation === "token"
      ? "a distillation token without a classifier of its own"
      : undefined,
  hf: (c) =>
    c.pooling !== "token"
      ? `pooling ${c.pooling}`
      : c.layerScale > 0
      ? "layerScale"
      : c.finalNorm === "pooled"
      ? "finalNorm pooled"
      : undefined,
  torchvision: (c) =>
    c.pooling !== "token"
      ? `pooling ${c.pooling}`
      : c.layerNormEpsilon > MOST_EPSILON
      ? `layerNormEpsilon ${c.layerNormEpsilon}`
      : c.layerScale > 0
      ? "layerScale"
      : c.distillation !== "none"
      ? "a distillation token"
      : c.gelu !== "exact"
      ? "GELU by tanh"
      : !c.qkvBias
      ? "attention without biases (qkvBias)"
      : c.finalNorm === "pooled"
      ? "finalNorm pooled"
      : undefined,
};

/**
 * Saves a model as a folder of a layout: `model.safetensors`, and for Hugging Face and timm the
 * `config.json` by which they build it.
 * @throws {UserError} if the layout has no place for a part of the model, or the folder cannot be
 * written.
 *
 * @example
 * ```ts
 * import { createViTClassifier, loadInitialWeights, modelConfigOf, preset } from "../../mod.ts";
 * import { namedVariables, readWeights, saveForeign, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const config = { ...modelConfigOf(preset("finetune")), transformerLayers: 1, numClasses: 2 };
 * const weights = await readWeights(namedVariables(createViTClassifier(config)));
 * const [mean, variance] = [[127, 127, 127], [16129, 16129, 16129]];
 * const preprocessing = { height: 224, width: 224, channels: 3, mean, variance };
 * const folder = `${await Deno.makeTempDir()}/vit`;
 * await saveForeign(folder, { config, weights, classNames: ["a", "b"], preprocessing }, "hf");
 * console.log((await loadInitialWeights(folder)).classNames); // [ "a", "b" ]
 * ```
 */
export async function saveForeign(
  folder: string,
  model: PortableModel,
  layout: LayoutName,
): Promise<void> {
  const { config, weights } = model;
  const lack = commonLack(config) ?? lacks[layout](config);
  if (lack !== undefined) {
    throw new UserError(
      `The model has ${lack}, for which the layout of ${
        layouts[layout].title
      } has no place; export ` +
        `it as ${layout !== "timm" && !commonLack(config) && !lacks.timm(config) ? "timm, " : ""}` +
        `safetensors or onnx.`,
    );
  }
  checkWeightShapes(config, new Map([...weights].map(([n, { shape }]) => [n, shape])), "The model");
  try {
    await Deno.mkdir(folder, { recursive: true });
  } catch (error) {
    throw ioError(error, "write", folder);
  }
  const root = folder.replace(/(?<=.)\/+$/, "");
  await writeFileAtomic(`${root}/${modelFile}`, encoded(model, layout));
  for (const [name, value] of Object.entries(filesOf[layout](model))) {
    const text = `${JSON.stringify(value, null, 2)}\n`;
    await writeFileAtomic(`${root}/${name}`, [new TextEncoder().encode(text)]);
  }
}

function namesFor(layout: LayoutName, config: ViTConfig): LayoutNames {
  if (layout === "hf") return hfVariants[config.distillation === "none" ? "vit" : "deit"];
  return layouts[layout].variants[0];
}

/** The bytes of the safetensors file, tensors in the order of their names as the format's library has it. */
function encoded(model: PortableModel, layout: LayoutName): Uint8Array<ArrayBuffer>[] {
  const { config, weights } = model;
  const list = foreignTensors(config, namesFor(layout, config))
    .sort((a, b) => a.name < b.name ? -1 : 1);
  const dataOf = (name: string) => weights.get(name)!.data;
  const tensors = new Map<string, TensorData>();
  for (const tensor of list) {
    const { name, shape } = tensor;
    tensors.set(name, { dtype: "F32", shape, data: toTheirs(tensor, dataOf) });
  }
  const entries = layOut(tensors);
  // All three libraries look for the framework that a file is of.
  const metadata = { format: "pt", ...(layout === "torchvision" && { [ownKey]: ownText(model) }) };
  return [encodeHead(entries, metadata), ...entries.map(({ name }) => bytesOf(tensors.get(name)!))];
}

/** What torchvision has no file for: it takes no notice of it, and we read it. */
function ownText(model: PortableModel): string {
  const { numHeads, layerNormEpsilon: epsilon, gelu } = model.config;
  const preparation = preparationOf(model);
  return JSON.stringify({ numHeads, classNames: namesOf(model), epsilon, gelu, preparation });
}

/** A name for each logit. */
function namesOf({ config, classNames }: PortableModel): string[] {
  return Array.from({ length: config.numClasses }, (_, i) => classNames[i] ?? `class ${i}`);
}

function preparationOf({ preprocessing }: PortableModel): Preparation {
  const { mean, variance, fit = "squash", resample = "bilinear", cropShare = 1 } = preprocessing;
  return {
    channelMean: mean.map((value) => rounded(value / 255)),
    channelDeviation: variance.map((value) => rounded(Math.sqrt(value) / 255)),
    ...{ resample, fit, cropShare },
  };
}

/** Without the last digits, which a division has left. */
function rounded(value: number): number {
  return Number(value.toPrecision(9));
}

const filesOf: Record<LayoutName, (model: PortableModel) => Record<string, unknown>> = {
  timm: (model) => ({ "config.json": timmConfig(model) }),
  hf: (model) => ({
    "config.json": hfConfig(model),
    "preprocessor_config.json": hfPreprocessor(model),
  }),
  torchvision: () => ({}),
};

/** Architectures of timm by width, all of whose sizes `model_args` overrides. */
const timmSizes: Record<number, string> = { 192: "tiny", 384: "small", 1024: "large" };

function timmConfig(model: PortableModel): Record<string, unknown> {
  const { config: c } = model;
  const { channelMean, channelDeviation, resample, fit, cropShare } = preparationOf(model);
  const isDistilled = c.distillation === "heads";
  const size = timmSizes[c.projectionDim] ?? "base";
  const ratio = c.transformerUnits[0]! / c.projectionDim;
  return {
    architecture: isDistilled
      ? `deit_${size === "large" ? "base" : size}_distilled_patch16_224`
      : `vit_${size}_patch16_224`,
    num_classes: c.numClasses,
    num_features: c.projectionDim,
    global_pool: c.pooling === "token" ? "token" : "avg",
    model_args: {
      img_size: c.imageSize,
      patch_size: c.patchSize,
      embed_dim: c.projectionDim,
      depth: c.transformerLayers,
      num_heads: c.numHeads,
      ...(c.channels !== 3 && { in_chans: c.channels }),
      ...(ratio !== 4 && { mlp_ratio: ratio }),
      ...(!c.qkvBias && { qkv_bias: false }),
      ...(c.layerScale > 0 && { init_values: c.layerScale }),
      ...(c.gelu === "tanh" && { act_layer: "gelu_tanh" }),
      ...(c.pooling === "mean" && {
        global_pool: "avg",
        class_token: c.classToken,
      }),
      ...((c.pooling === "mean") !== (c.finalNorm === "pooled") && {
        fc_norm: c.finalNorm === "pooled",
      }),
    },
    label_names: namesOf(model),
    pretrained_cfg: {
      input_size: [c.channels, c.imageSize, c.imageSize],
      interpolation: resample,
      crop_pct: cropShare,
      crop_mode: fit === "squash" ? "squash" : "center",
      mean: channelMean,
      std: channelDeviation,
      num_classes: c.numClasses,
      first_conv: "patch_embed.proj",
      classifier: isDistilled ? ["head", "head_dist"] : "head",
    },
  };
}

const hfArchitectures = {
  none: "ViTForImageClassification",
  token: "DeiTForImageClassification",
  heads: "DeiTForImageClassificationWithTeacher",
} as const;

function hfConfig(model: PortableModel): Record<string, unknown> {
  const { config: c } = model;
  const names = namesOf(model);
  return {
    architectures: [hfArchitectures[c.distillation]],
    model_type: c.distillation === "none" ? "vit" : "deit",
    image_size: c.imageSize,
    patch_size: c.patchSize,
    num_channels: c.channels,
    hidden_size: c.projectionDim,
    num_hidden_layers: c.transformerLayers,
    num_attention_heads: c.numHeads,
    intermediate_size: c.transformerUnits[0],
    hidden_act: c.gelu === "tanh" ? "gelu_pytorch_tanh" : "gelu",
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
    layer_norm_eps: c.layerNormEpsilon,
    qkv_bias: c.qkvBias,
    encoder_stride: c.patchSize,
    initializer_range: 0.02,
    problem_type: "single_label_classification",
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
    dtype: "float32",
  };
}

function hfPreprocessor(model: PortableModel): Record<string, unknown> {
  const { imageSize } = model.config;
  const { channelMean, channelDeviation, resample, fit, cropShare } = preparationOf(model);
  const square = { height: imageSize, width: imageSize };
  // ViT's own processor squashes and crops nothing; CLIP's does what timm's transforms do.
  const shape = fit === "squash" ? { image_processor_type: "ViTImageProcessor", size: square } : {
    image_processor_type: "CLIPImageProcessor",
    size: { shortest_edge: Math.floor(imageSize / cropShare + 1e-9) },
    do_center_crop: true,
    crop_size: square,
  };
  return {
    ...shape,
    do_resize: true,
    do_rescale: true,
    do_normalize: true,
    // Pillow's numbers of its filters.
    resample: resample === "bilinear" ? 2 : 3,
    rescale_factor: 1 / 255,
    image_mean: channelMean,
    image_std: channelDeviation,
  };
}
