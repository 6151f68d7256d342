/** The matrix products of a training step, for the tuner. */
import type { RunConfig } from "../config/run.ts";
import type { ProductShape } from "../kernels/matmul/tiles.ts";
import { architectureOf, type DenseLayers } from "./architecture.ts";

/** The shapes of all products, forward and backward, of the classifier's dense layers. */
export function trainingProducts(config: RunConfig): ProductShape[] {
  const { embedding, block, head } = architectureOf(config);
  const ofBatch = (layer: DenseLayers) => ({ ...layer, rows: layer.rows * config.batchSize });
  // All blocks are alike.
  return [...embedding, ...block, ...head].map(ofBatch).flatMap((layer) => [
    forward(layer),
    ...(layer.isFirst ? [] : [gradX(layer)]),
    gradKernel(layer),
  ]);
}

function forward({ rows, inner, columns, parts }: DenseLayers): ProductShape {
  return { layout: "nn", rows, depth: inner, columns, parts };
}

function gradX({ rows, inner, columns, parts }: DenseLayers): ProductShape {
  return { layout: "nt", rows, depth: columns, columns: inner, parts };
}

function gradKernel({ rows, inner, columns, parts }: DenseLayers): ProductShape {
  return { layout: "tn", rows: inner, depth: rows, columns, parts };
}
