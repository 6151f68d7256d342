/** The matrix products of a training step, for the tuner. */
import type { RunConfig } from "../config/run.ts";
import type { ProductShape } from "../kernels/matmul/tiles.ts";

/** A dense layer as `[rows, inner] x [inner, columns]`; `parts` layers share one input. */
interface Dense {
  rows: number;
  inner: number;
  columns: number;
  parts?: number;
}

/** The shapes of all products, forward and backward, of the classifier's dense layers. */
export function trainingProducts(config: RunConfig): ProductShape[] {
  const c = config;
  const patches = (c.imageSize / c.patchSize) ** 2;
  const tokens = patches + (c.pooling === "token" ? 1 : 0);
  const rows = c.batchSize * tokens;
  const inner = c.numHeads * c.keyDim;
  const chain = (rows: number, first: number, units: number[]): Dense[] =>
    units.map((columns, i) => ({ rows, inner: i === 0 ? first : units[i - 1]!, columns }));

  const embedding = {
    rows: c.batchSize * patches,
    inner: c.patchSize ** 2 * c.channels,
    columns: c.projectionDim,
  };
  const layers: Dense[] = [
    { rows, inner: c.projectionDim, columns: inner, parts: 3 },
    { rows, inner, columns: c.projectionDim },
    ...chain(rows, c.projectionDim, c.transformerUnits),
    ...chain(c.batchSize, c.projectionDim * (c.pooling === "flatten" ? tokens : 1), [
      ...c.mlpHeadUnits,
      c.numClasses,
    ]),
  ];
  return [
    // The images need no gradient.
    forward(embedding),
    gradKernel(embedding),
    ...layers.flatMap((layer) => [forward(layer), gradX(layer), gradKernel(layer)]),
  ];
}

function forward({ rows, inner, columns, parts }: Dense): ProductShape {
  return { layout: "nn", rows, depth: inner, columns, parts };
}

function gradX({ rows, inner, columns, parts }: Dense): ProductShape {
  return { layout: "nt", rows, depth: columns, columns: inner, parts };
}

function gradKernel({ rows, inner, columns, parts }: Dense): ProductShape {
  return { layout: "tn", rows: inner, depth: rows, columns, parts };
}
