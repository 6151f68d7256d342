/**
 * What the files beside the weights tell of a model: `config.json` of Hugging Face and timm,
 * `preprocessor_config.json`. Nobody vouches for them, so each field is looked at before it is used.
 */
import { z } from "../deps.ts";
import { firstWrong } from "../config/parse.ts";
import { UserError } from "../errors.ts";
import type { GeluForm } from "../layers/layer.ts";
import { shown } from "../shown.ts";
import { type LayoutName, layouts, type Preparation } from "./layouts.ts";

/** Sizes that the tensors have too, and must have alike. */
export interface ToldSizes {
  width?: number;
  depth?: number;
  middle?: number;
  patchSize?: number;
  channels?: number;
  imageSize?: number;
  classes?: number;
}

/** What files say beside the tensors, as far as they do. */
export interface Told {
  sizes: ToldSizes;
  numHeads?: number;
  epsilon?: number;
  gelu?: GeluForm;
  pooling?: "token" | "mean";
  /** Where LayerScale's factors began. */
  layerScale?: number;
  /** In the order of the logits. */
  classNames?: string[];
  preparation?: Partial<Preparation>;
}

const count = z.int().min(1).max(2 ** 20);
const square = z.union([count, z.tuple([count, count])]).transform((side, context) => {
  const [height, width] = Array.isArray(side) ? side : [side, side];
  if (height !== width) context.addIssue({ code: "custom", message: "is no square" });
  return height;
});
const three = z.array(z.number().min(-1000).max(1000)).min(1).max(1024);
const names = z.array(z.string().max(1000)).max(2 ** 20);

const hfSchema = z.looseObject({
  model_type: z.string().optional(),
  hidden_size: count.optional(),
  num_hidden_layers: count.optional(),
  num_attention_heads: count.optional(),
  intermediate_size: count.optional(),
  hidden_act: z.string().optional(),
  layer_norm_eps: z.number().positive().max(1).optional(),
  image_size: square.optional(),
  patch_size: square.optional(),
  num_channels: count.optional(),
  id2label: z.record(z.string(), z.string().max(1000)).optional(),
});

/** Hugging Face's words for GELU. */
const hfGelus: Record<string, GeluForm> = {
  ...{ gelu: "exact", gelu_python: "exact" },
  ...{ gelu_new: "tanh", gelu_pytorch_tanh: "tanh", gelu_fast: "tanh" },
};

/** timm's words for it. */
const timmGelus: Record<string, GeluForm> = { gelu: "exact", gelu_tanh: "tanh" };

/** Heads of the widths whose heads are not 64 numbers wide. */
const headsOfWidth: Record<number, number> = { 1280: 16, 1408: 16, 1664: 16 };

/**
 * The heads of a width where no file says them: 64 numbers each, as in all sizes of the ViT paper up to
 * Large, and below that 3, as in its smallest offspring ViT-Ti.
 */
export function usualHeads(width: number): number | undefined {
  const known = headsOfWidth[width] ?? (width % 64 === 0 ? width / 64 : undefined);
  return known ?? (width % 3 === 0 && width < 192 ? 3 : undefined);
}

/** The way out where a file tells of something that is not built here. */
function unsupported(source: string, what: string): UserError {
  return new UserError(
    `${source} describes a model that is not built here: ${what}; take another one.`,
  );
}

/** @throws {UserError} naming the first field that is wrong. */
function parsed<T extends z.ZodType>(schema: T, value: unknown, source: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, found } = firstWrong(result.error, value);
  throw new UserError(
    path.length === 0
      ? `${source} must hold a JSON object, not ${shown(value)}.`
      : `${source} cannot be used: its ${path.join(".")} cannot be ${shown(found)}.`,
  );
}

/** What Hugging Face's `config.json` tells. */
export function toldByHf(value: unknown, source: string): Told {
  const config = parsed(hfSchema, value, source);
  const { model_type: type = "vit", hidden_act: activation = "gelu" } = config;
  if (type !== "vit" && type !== "deit") {
    throw unsupported(source, `its model_type is ${shown(type)}, and vit and deit are`);
  }
  const gelu = Object.hasOwn(hfGelus, activation) ? hfGelus[activation] : undefined;
  if (!gelu) throw unsupported(source, `its hidden_act is ${shown(activation)}, not a GELU`);
  const labels = config.id2label;
  const size = labels && Object.keys(labels).length;
  const classNames = labels && Array.from({ length: size! }, (_, i) => {
    if (labels[i] !== undefined) return labels[i];
    throw new UserError(`${source} cannot be used: its id2label has no class ${i} of ${size}.`);
  });
  return {
    sizes: {
      width: config.hidden_size,
      depth: config.num_hidden_layers,
      middle: config.intermediate_size,
      patchSize: config.patch_size,
      channels: config.num_channels,
      imageSize: config.image_size,
      classes: size,
    },
    numHeads: config.num_attention_heads ?? 12,
    epsilon: config.layer_norm_eps,
    gelu,
    pooling: "token",
    classNames,
    // DeiT's preparation, should there be no file of it.
    ...(type === "deit" && {
      preparation: { ...layouts.torchvision.preparation, resample: "bicubic" as const },
    }),
  };
}

const preprocessorSchema = z.looseObject({
  do_resize: z.boolean().nullish(),
  do_rescale: z.boolean().nullish(),
  do_normalize: z.boolean().nullish(),
  do_center_crop: z.boolean().nullish(),
  rescale_factor: z.number().nullish(),
  image_mean: three.nullish(),
  image_std: three.nullish(),
  resample: z.int().min(0).max(5).nullish(),
  size: z.union([
    count,
    z.looseObject({
      height: count.optional(),
      width: count.optional(),
      shortest_edge: count.optional(),
    }),
  ]).nullish(),
  crop_size: z.union([
    count,
    z.looseObject({ height: count.optional(), width: count.optional() }),
  ]).nullish(),
});

/** Pillow's number of its bilinear filter; what is not that is taken as its bicubic one. */
const PILLOW_BILINEAR = 2;

/** What Hugging Face's `preprocessor_config.json` tells. */
export function preparationByHf(value: unknown, source: string): Partial<Preparation> {
  const config = parsed(preprocessorSchema, value, source);
  const { rescale_factor: factor, size, crop_size: crop } = config;
  if (config.do_rescale === false || (factor && Math.abs(factor * 255 - 1) > 1e-3)) {
    throw unsupported(
      source,
      `its images are ${factor ? `multiplied by ${factor}` : "not scaled"}, and values 0 to 1 are`,
    );
  }
  const shortest = typeof size === "object" ? size?.shortest_edge : undefined;
  const resized = shortest ?? (typeof size === "object" ? size?.height : size) ?? undefined;
  const kept = typeof crop === "object" ? crop?.height : crop;
  const isCropped = config.do_center_crop === true && kept && resized && kept <= resized;
  const isPlain = config.do_normalize === false;
  return {
    ...(isPlain && { channelMean: [0, 0, 0], channelDeviation: [1, 1, 1] }),
    ...(!isPlain && config.image_mean && { channelMean: config.image_mean }),
    ...(!isPlain && config.image_std && { channelDeviation: config.image_std }),
    ...(typeof config.resample === "number" && {
      resample: config.resample === PILLOW_BILINEAR ? "bilinear" as const : "bicubic" as const,
    }),
    fit: shortest === undefined ? "squash" : "crop",
    cropShare: isCropped ? kept / resized : 1,
  };
}

const timmPreparation = z.looseObject({
  interpolation: z.string().optional(),
  crop_pct: z.number().positive().max(1).optional(),
  crop_mode: z.string().optional(),
  mean: three.optional(),
  std: three.optional(),
});

const timmSchema = z.looseObject({
  architecture: z.string().max(1000).optional(),
  num_classes: z.int().min(0).max(2 ** 20).optional(),
  num_features: count.optional(),
  global_pool: z.string().optional(),
  label_names: names.optional(),
  model_args: z.looseObject({
    img_size: square.optional(),
    patch_size: square.optional(),
    embed_dim: count.optional(),
    depth: count.optional(),
    num_heads: count.optional(),
    in_chans: count.optional(),
    mlp_ratio: z.number().positive().max(1000).optional(),
    act_layer: z.string().optional(),
    global_pool: z.string().optional(),
    init_values: z.number().positive().max(1).nullish(),
  }).optional(),
  pretrained_cfg: timmPreparation.optional(),
});

/** What timm's `config.json` tells. */
export function toldByTimm(value: unknown, source: string): Told {
  const config = parsed(timmSchema, value, source);
  const args = config.model_args ?? {};
  const activation = args.act_layer ??
    (config.architecture?.includes("quickgelu") ? "quick_gelu" : "gelu");
  const gelu = Object.hasOwn(timmGelus, activation) ? timmGelus[activation] : undefined;
  if (!gelu) throw unsupported(source, `its act_layer is ${shown(activation)}, not a GELU`);
  const pool = args.global_pool ?? config.global_pool;
  const width = args.embed_dim ?? config.num_features;
  return {
    sizes: {
      width,
      depth: args.depth,
      middle: args.mlp_ratio && args.embed_dim && Math.floor(args.mlp_ratio * args.embed_dim),
      patchSize: args.patch_size,
      channels: args.in_chans,
      imageSize: args.img_size,
      classes: config.num_classes || undefined,
    },
    numHeads: args.num_heads,
    gelu,
    pooling: pool === "avg" ? "mean" : pool === "token" ? "token" : undefined,
    layerScale: args.init_values ?? undefined,
    classNames: config.label_names,
    // Older files have the preparation beside the rest.
    preparation: preparationByTimm(
      config.pretrained_cfg ?? parsed(timmPreparation, value, source),
    ),
  };
}

function preparationByTimm(
  given: z.output<typeof timmPreparation>,
): Partial<Preparation> {
  return {
    ...(given.mean && { channelMean: given.mean }),
    ...(given.std && { channelDeviation: given.std }),
    ...(given.interpolation && {
      resample: given.interpolation === "bilinear" ? "bilinear" as const : "bicubic" as const,
    }),
    ...(given.crop_mode && { fit: given.crop_mode === "squash" ? "squash" : "crop" }),
    ...(given.crop_pct && { cropShare: given.crop_pct }),
  };
}

/** Metadata of a safetensors file in which we say what torchvision has no file for. */
export const ownKey = "deno-vit";

const ownSchema = z.looseObject({
  numHeads: count.optional(),
  classNames: names.optional(),
  epsilon: z.number().positive().max(1).optional(),
  gelu: z.enum(["exact", "tanh"]).optional(),
  preparation: z.strictObject({
    channelMean: three,
    channelDeviation: three,
    resample: z.enum(["bilinear", "bicubic"]),
    fit: z.enum(["crop", "squash"]),
    cropShare: z.number().positive().max(1),
  }).optional(),
});

/** What a file that we wrote tells in its metadata. */
export function toldByOwn(value: unknown, source: string): Told {
  return { sizes: {}, ...parsed(ownSchema, value, source) };
}

/** Readers of `config.json` by layout; torchvision has no such file. */
export const tellers: Record<LayoutName, (value: unknown, source: string) => Told> = {
  timm: toldByTimm,
  hf: toldByHf,
  torchvision: toldByOwn,
};
