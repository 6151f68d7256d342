/** The shapes of a training step that kernels have two forms for, for the tuner. */
import type { RunConfig } from "../config/run.ts";
import type { FormedShape } from "../kernels/forms.ts";
import { sumShapesOfGradient } from "../kernels/layer_norm/wgsl.ts";
import { cutOfRows } from "../kernels/matmul/matmul.ts";
import type { ProductShape } from "../kernels/matmul/tiles.ts";
import { bindable } from "../kernels/matmul/tuning.ts";
import { sumShapes } from "../kernels/sum_leading.ts";
import { positionEmbeddings } from "../layers/position_embeddings.ts";
import { architectureOf, type DenseLayers } from "./architecture.ts";

/**
 * The shapes of attention, layer normalizations and sums, forward and backward. The sums within a
 * convolution are not among them and keep the form of the rule.
 */
export function trainingForms(config: RunConfig): FormedShape[] {
  const { batchSize: batch, projectionDim: dim, numHeads, keyDim } = config;
  const { tokenizer, tokens, prefix, features, embedding, block, head } = architectureOf(config);
  const attention = { batch, tokens, numHeads, keyDim };
  const norms = [
    // What stands before a layer of patches normalizes them.
    ...embedding.filter(({ isFirst }) => !isFirst)
      .map(({ rows, inner }) => ({ rows: batch * rows, dim: inner })),
    { rows: batch * tokens, dim },
  ];
  if (config.finalNorm === "pooled") norms.push({ rows: batch, dim: features });
  const [projections] = block;
  // A layer of patches that adds learned tokens too leaves the sum of positions to tfjs.
  const sumsPositions = positionEmbeddings[config.positionEmbedding].learned &&
    (prefix === 0 || !tokenizer.dense);
  return [
    { kernel: "attention", ...attention },
    { kernel: "attention_grad", ...attention },
    ...norms.flatMap((norm): FormedShape[] => [
      { kernel: "layer_norm", ...norm },
      { kernel: "layer_norm_grad", ...norm },
      ...sumShapesOfGradient(norm.rows, norm.dim),
    ]),
    // All blocks are alike.
    ...[...embedding, ...block, ...head].flatMap((layer) =>
      kernelSums(layer, batch, layer !== projections || config.qkvBias)
    ),
    ...(sumsPositions ? sumShapes([tokens * dim], batch) : []),
    ...(config.pooling === "sequence" ? sumShapes([dim, 1], batch) : []),
  ];
}

/** The sums of what the parts of a batch add to the gradients of kernels, and of biases. */
function kernelSums(
  { rows, inner, columns, parts }: DenseLayers,
  batch: number,
  hasBias: boolean,
): FormedShape[] {
  const whole = { layout: "tn", rows: inner, depth: rows * batch, columns, parts } as const;
  const product: ProductShape = bindable(whole);
  const outputs = product.parts ?? 1;
  const { splits } = cutOfRows(product, outputs);
  if (splits === 1) return [];
  const kernels = Array<number>(outputs).fill(inner * columns);
  const biases = Array<number>(hasBias ? outputs : 0).fill(columns);
  return sumShapes([...kernels, ...biases], splits);
}
