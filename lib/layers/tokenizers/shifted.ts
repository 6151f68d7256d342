import type { tf } from "../../tfjs.ts";
import { SHIFT_OFFSETS, SHIFTED_PARTS } from "../../kernels/shifted_patches.ts";
import { LayerNormalization } from "../layer_normalization.ts";
import { PatchEncoder } from "../patch_encoder.ts";
import { ShiftedPatches } from "../shifted_patches.ts";
import { cutPatches, patches, projectedPatches } from "./patches.ts";
import type { Tokenizer } from "./tokenizer.ts";

const NORM = "patch_norm";

/**
 * Shifted patch tokenization (Lee et al., 2021): patches of the image and its four shifts by half a
 * patch along the diagonals, normalized, through one dense layer. So a token sees half a patch beyond
 * its edges, which a small data set does not teach it to look up elsewhere.
 */
export const shifted: Tokenizer = {
  fault(config, name) {
    if (config.patchSize !== 1) return patches.fault(config, name);
    return `${name("tokenizer")} shifted needs a ${
      name("patchSize")
    } of at least 2, of which half ` +
      `is a pixel, not 1; choose 2, or ${name("tokenizer")} patches.`;
  },
  side: patches.side,
  dense: (config) => ({
    name: "patch_encoder.projection",
    inner: elements(config),
    isInputLearned: true,
  }),
  weights: (config) => [
    [`${NORM}.gamma`, [elements(config)]],
    [`${NORM}.beta`, [elements(config)]],
    ["patch_encoder.projection.kernel", [elements(config), config.projectionDim]],
    ["patch_encoder.projection.bias", [config.projectionDim]],
  ],
  filters: (config) => ({ ...patches.filters(config), parts: SHIFTED_PARTS }),
  largest: (config) => ({
    name: "the shifted patches [batch, tokens, numbers]",
    shape: [shifted.side(config) ** 2, elements(config)],
  }),
  encoder: "patch_encoder",
  apply(images, { patchSize, projectionDim, layerNormEpsilon: epsilon }, encoder) {
    // b h w c -> b (h w) (p p 5 c), as is the next
    const cut = new ShiftedPatches({ name: "patches", patchSize }).apply(images);
    const normed = new LayerNormalization({ name: NORM, epsilon, given: encoder.given }).apply(cut);
    // b (h w) (p p 5 c) -> b n d
    return new PatchEncoder({ ...encoder, projectionDim }).apply(normed) as tf.SymbolicTensor;
  },
  onnx(graph, config, images) {
    const { patchSize, channels, imageSize, layerNormEpsilon: epsilon } = config;
    const half = Math.floor(patchSize / 2);
    const border = graph.ints([0, half, half, 0, 0, half, half, 0]);
    const padded = graph.node("patches", "Pad", [images, border]);
    const axes = graph.ints([1, 2]);
    const shifts = SHIFT_OFFSETS.slice(1).map((offset) => {
      const at = offset.map((halves) => (halves + 1) * half);
      const ends = graph.ints(at.map((n) => n + imageSize));
      return graph.node("patches", "Slice", [padded, graph.ints(at), ends, axes]);
    });
    const all = graph.node("patches", "Concat", [images, ...shifts], { axis: 3 });
    const widened = { ...config, channels: channels * SHIFTED_PARTS };
    const cut = cutPatches(graph, widened, all);
    const normed = graph.node(
      NORM,
      "LayerNormalization",
      [cut, `${NORM}.gamma`, `${NORM}.beta`],
      { axis: -1 },
      { epsilon },
    );
    return projectedPatches(graph, normed);
  },
};

/** Numbers of a patch with its shifts. */
function elements({ patchSize, channels }: { patchSize: number; channels: number }): number {
  return patchSize ** 2 * SHIFTED_PARTS * channels;
}
