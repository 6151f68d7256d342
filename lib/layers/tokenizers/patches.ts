import type { tf } from "../../tfjs.ts";
import { PatchEncoder } from "../patch_encoder.ts";
import { Patches } from "../patches.ts";
import type { OnnxGraph } from "../onnx_graph.ts";
import type { Tokenizer, TokenizerConfig } from "./tokenizer.ts";

/** Square patches without overlap through one dense layer, as in the ViT paper. */
export const patches: Tokenizer = {
  fault({ imageSize, patchSize, convChannels }, name) {
    if (convChannels.length > 0) {
      return `${name("convChannels")} [${convChannels}] needs ${
        name("tokenizer")
      } conv; choose that, ` +
        `or leave ${name("convChannels")} out.`;
    }
    if (imageSize % patchSize === 0) return undefined;
    return `${name("imageSize")} ${imageSize} is not divisible by ${name("patchSize")} ` +
      `${patchSize}; choose a ${name("patchSize")} among ${divisors(imageSize).join(", ")}.`;
  },
  side: ({ imageSize, patchSize }) => imageSize / patchSize,
  dense: (config) => ({ name: "patch_encoder.projection", inner: elements(config) }),
  weights: (config) => [
    ["patch_encoder.projection.kernel", [elements(config), config.projectionDim]],
    ["patch_encoder.projection.bias", [config.projectionDim]],
  ],
  filters: ({ patchSize }) => ({
    kernel: "patch_encoder.projection.kernel",
    side: patchSize,
    parts: 1,
  }),
  encoder: "patch_encoder",
  apply(images, { patchSize, projectionDim }, encoder) {
    // b h w c -> b (h w) (p p c)
    const cut = new Patches({ name: "patches", patchSize }).apply(images);
    // b (h w) (p p c) -> b n d
    return new PatchEncoder({ ...encoder, projectionDim }).apply(cut) as tf.SymbolicTensor;
  },
  onnx: (graph, config, images) => projectedPatches(graph, cutPatches(graph, config, images)),
};

/** ONNX nodes that cut images into patches. */
export function cutPatches(graph: OnnxGraph, config: TokenizerConfig, images: string): string {
  const { patchSize: p, channels } = config;
  const side = patches.side(config);
  const rows = graph.node("patches", "Reshape", [
    images,
    graph.ints([-1, p, side, p * channels]),
  ]);
  const swapped = graph.node("patches", "Transpose", [rows], { perm: [0, 2, 1, 3] });
  const flat = graph.ints([-1, side * side, elements(config)]);
  return graph.node("patches", "Reshape", [swapped, flat]);
}

/** ONNX nodes of the dense layer that makes tokens of patches. */
export function projectedPatches(graph: OnnxGraph, cut: string): string {
  const scope = "patch_encoder.projection";
  const product = graph.node(scope, "MatMul", [cut, `${scope}.kernel`]);
  return graph.node(scope, "Add", [product, `${scope}.bias`]);
}

/** Numbers of a patch. */
function elements({ patchSize, channels }: { patchSize: number; channels: number }): number {
  return patchSize ** 2 * channels;
}

function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}
