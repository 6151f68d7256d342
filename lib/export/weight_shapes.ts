import type { ViTConfig } from "../config/model.ts";

/**
 * The shape of every weight of a classifier by its plain name, in the order of the layers, from the
 * configuration alone: files from outside are checked against it before their data is read.
 *
 * @param config a checked configuration
 */
export function weightShapes(config: ViTConfig): Map<string, number[]> {
  const { patchSize, channels, projectionDim: dim, pooling } = config;
  const inner = config.numHeads * config.keyDim;
  const tokens = tokenCount(config);
  const shapes = new Map<string, number[]>();
  const dense = (name: string, from: number, to: number) => {
    shapes.set(`${name}.kernel`, [from, to]).set(`${name}.bias`, [to]);
  };
  const norm = (name: string) => shapes.set(`${name}.gamma`, [dim]).set(`${name}.beta`, [dim]);
  const mlp = (name: string, from: number, units: readonly number[]) =>
    units.reduce((width, to, index) => {
      dense(`${name}.${index}`, width, to);
      return to;
    }, from);

  dense("patch_encoder.projection", patchSize * patchSize * channels, dim);
  shapes.set("patch_encoder.position_embedding", [tokens, dim]);
  if (pooling === "token") shapes.set("patch_encoder.class_token", [1, 1, dim]);
  for (let i = 0; i < config.transformerLayers; i++) {
    const block = `blocks.${i}`;
    norm(`${block}.norm1`);
    for (const name of ["query", "key", "value"]) dense(`${block}.attention.${name}`, dim, inner);
    dense(`${block}.attention.output`, inner, dim);
    norm(`${block}.norm2`);
    mlp(`${block}.mlp`, dim, config.transformerUnits);
  }
  norm("norm");
  const features = mlp("head", pooling === "flatten" ? tokens * dim : dim, config.mlpHeadUnits);
  dense("classifier", features, config.numClasses);
  return shapes;
}

/** Tokens that the blocks see: one a patch, and the class token where there is one. */
export function tokenCount(config: ViTConfig): number {
  return (config.imageSize / config.patchSize) ** 2 + (config.pooling === "token" ? 1 : 0);
}
