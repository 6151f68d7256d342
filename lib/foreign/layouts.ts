/**
 * The layouts of other libraries: what their tensors are called, and the rules that their models go by.
 *
 * A layout may have several variants of its names; the first is the one that is written. Names and
 * rules were checked against timm 1.0.29, transformers 5.18 and torchvision 0.28.
 */
import type { Fit } from "../data/image/fit.ts";
import type { Resampling } from "../data/image/resize.ts";
import type { PositionRule } from "./positions.ts";

/** Names of a dense layer's or a norm's tensors: with these endings, `.weight` and `.bias`. */
type Stem = string;

/** What a layout calls the tensors of a Vision Transformer. */
export interface LayoutNames {
  /** The convolution that makes tokens of patches. */
  patches: Stem;
  classToken: string;
  distillationToken?: string;
  position: string;
  /** What begins the names of a block, with its dot. */
  block(index: number): string;
  norm1: Stem;
  /** Query, key and value, each by itself or as thirds of one tensor's rows. */
  attention: { each: readonly [Stem, Stem, Stem] } | { fused: { weight: string; bias: string } };
  output: Stem;
  norm2: Stem;
  mlp: readonly [Stem, Stem];
  /** LayerScale's factors of attention and of the MLP. */
  scales?: readonly [string, string];
  /** The last norm, of all tokens. */
  norm: Stem;
  /** The last norm, of what pooling made. */
  pooledNorm?: Stem;
  classifier: Stem;
  /** The classifiers where there are two: of the class token, and of the distillation token. */
  classifiers?: readonly [Stem, Stem];
  /** Tensors that take no part in classification. */
  ignored?: readonly string[];
}

/** A layout. */
export interface Layout {
  /** Of its library, for people. */
  title: string;
  variants: readonly LayoutNames[];
  /** How its position embedding is brought to another grid. */
  positionRule: PositionRule;
  /** Its LayerNorms' epsilon, where nothing else is said. */
  epsilon: number;
  /** How images are prepared, where nothing else is said. */
  preparation: Preparation;
}

/** Preparation of images as weights want it, in the words of a run's fields. */
export interface Preparation {
  /** Mean of each channel, of values 0 to 1. */
  channelMean: number[];
  /** Standard deviation of each channel, likewise. */
  channelDeviation: number[];
  /** Filter of the resizing. */
  resample: Resampling;
  /** What becomes of pictures that are no squares. */
  fit: Fit;
  /** Share of the resized picture's side that is kept, its middle. */
  cropShare: number;
}

const halves = [0.5, 0.5, 0.5];
/** Mean and deviation of ImageNet's pixels, as all three libraries have them. */
const imagenet = {
  channelMean: [0.485, 0.456, 0.406],
  channelDeviation: [0.229, 0.224, 0.225],
};

/** The shorter side of 256 pixels of which a square of 224 is kept. */
const shareOf256 = 224 / 256;

const timmNames: LayoutNames = {
  patches: "patch_embed.proj",
  classToken: "cls_token",
  distillationToken: "dist_token",
  position: "pos_embed",
  block: (index) => `blocks.${index}.`,
  norm1: "norm1",
  attention: { fused: { weight: "attn.qkv.weight", bias: "attn.qkv.bias" } },
  output: "attn.proj",
  norm2: "norm2",
  mlp: ["mlp.fc1", "mlp.fc2"],
  scales: ["ls1.gamma", "ls2.gamma"],
  norm: "norm",
  pooledNorm: "fc_norm",
  classifier: "head",
  classifiers: ["head", "head_dist"],
};

/** As `save_pretrained` writes it, in files of all versions. */
const hfNames = (prefix: string): LayoutNames => ({
  patches: `${prefix}embeddings.patch_embeddings.projection`,
  classToken: `${prefix}embeddings.cls_token`,
  distillationToken: `${prefix}embeddings.distillation_token`,
  position: `${prefix}embeddings.position_embeddings`,
  block: (index) => `${prefix}encoder.layer.${index}.`,
  norm1: "layernorm_before",
  attention: {
    each: ["attention.attention.query", "attention.attention.key", "attention.attention.value"],
  },
  output: "attention.output.dense",
  norm2: "layernorm_after",
  mlp: ["intermediate.dense", "output.dense"],
  norm: `${prefix}layernorm`,
  classifier: "classifier",
  classifiers: ["cls_classifier", "distillation_classifier"],
  ignored: [
    ...["weight", "bias"].map((end) => `${prefix}pooler.dense.${end}`),
    `${prefix}embeddings.mask_token`,
  ],
});

/** As `state_dict()` has it from transformers 5 on. */
const hfStateNames = (prefix: string): LayoutNames => ({
  ...hfNames(prefix),
  block: (index) => `${prefix}layers.${index}.`,
  attention: { each: ["attention.q_proj", "attention.k_proj", "attention.v_proj"] },
  output: "attention.o_proj",
  mlp: ["mlp.fc1", "mlp.fc2"],
});

const torchvisionNames: LayoutNames = {
  patches: "conv_proj",
  classToken: "class_token",
  position: "encoder.pos_embedding",
  block: (index) => `encoder.layers.encoder_layer_${index}.`,
  norm1: "ln_1",
  attention: {
    fused: { weight: "self_attention.in_proj_weight", bias: "self_attention.in_proj_bias" },
  },
  output: "self_attention.out_proj",
  norm2: "ln_2",
  mlp: ["mlp.0", "mlp.3"],
  norm: "encoder.ln",
  classifier: "heads.head",
};

/** The layouts by name, which `export --format` takes. */
export const layouts = {
  timm: {
    title: "timm",
    variants: [timmNames],
    positionRule: "antialiased",
    epsilon: 1e-6,
    preparation: {
      ...{ channelMean: halves, channelDeviation: halves },
      ...{ resample: "bicubic", fit: "crop", cropShare: 0.9 },
    },
  },
  hf: {
    title: "Hugging Face",
    variants: ["vit.", "deit.", ""].flatMap((prefix) => [hfNames(prefix), hfStateNames(prefix)]),
    positionRule: "halfPixel",
    epsilon: 1e-12,
    preparation: {
      ...{ channelMean: halves, channelDeviation: halves },
      ...{ resample: "bilinear", fit: "squash", cropShare: 1 },
    },
  },
  torchvision: {
    title: "torchvision",
    variants: [
      torchvisionNames,
      // Of releases before 0.12.
      { ...torchvisionNames, mlp: ["mlp.linear_1", "mlp.linear_2"] },
    ],
    positionRule: "cornersAligned",
    epsilon: 1e-6,
    preparation: {
      ...imagenet,
      ...{ resample: "bilinear", fit: "crop", cropShare: shareOf256 },
    },
  },
} as const satisfies Record<string, Layout>;

/** @internal */
type Layouts = typeof layouts;

/** A layout's name. */
export type LayoutName = keyof Layouts;

/** The variant of Hugging Face's names that is written, by the model's type in its configuration. */
export const hfVariants = { vit: hfNames("vit."), deit: hfNames("deit.") } as const;

/** The names of a dense layer's or a norm's two tensors. */
export function pairOf(stem: string): { weight: string; bias: string } {
  return { weight: `${stem}.weight`, bias: `${stem}.bias` };
}

/**
 * The layout that a file's tensors are named by; undefined where they are named by none.
 * @param names of all tensors
 */
export function layoutOf(
  names: { has(name: string): boolean },
): { layout: LayoutName; names: LayoutNames } | undefined {
  for (const [layout, { variants }] of Object.entries(layouts) as [LayoutName, Layout][]) {
    const found = variants.find((variant) => {
      const first = variant.block(0);
      return [variant.patches, `${first}${variant.norm1}`, `${first}${variant.mlp[0]}`]
        .every((stem) => names.has(pairOf(stem).weight));
    });
    if (found) return { layout, names: found };
  }
  return undefined;
}
