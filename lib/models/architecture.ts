/**
 * A classifier from its configuration alone: tokens, widths, products and weights, before anything
 * is built. Whoever needs one of these numbers takes it from here.
 *
 * Tokenizers and poolings are tables (`lib/layers/tokenizers.ts`, `lib/layers/poolings.ts`), whose
 * entries say what is theirs.
 */
import type { ViTConfig } from "../config/model.ts";
import { UserError } from "../errors.ts";
import { shown } from "../shown.ts";
import { poolings } from "../layers/poolings.ts";
import type { Pooling } from "../layers/poolings/pooling.ts";
import { positionEmbeddings } from "../layers/position_embeddings.ts";
import { tokenizers } from "../layers/tokenizers.ts";
import type { Tokenizer } from "../layers/tokenizers/tokenizer.ts";

/** Dense layers on one input, each a product `[rows, inner] x [inner, columns]` for an image. */
export interface DenseLayers {
  /** The name of each one's weights; in a block without the block's own. */
  names: string[];
  /** Of one image. */
  rows: number;
  inner: number;
  columns: number;
  /** Number of them. */
  parts: number;
  /** Whether the input needs no gradient, because no weight stands before it. */
  isFirst?: boolean;
}

/** Shape of a model, as its configuration decides it. */
export interface Architecture {
  tokenizer: Tokenizer;
  /** Tokens along one side of the image. */
  side: number;
  /** Tokens that the blocks see: the learned ones, then those of the image. */
  tokens: number;
  /** Whether the first token is a learned class token. */
  classToken: boolean;
  /** Learned tokens before those of the image: class token and distillation token. */
  prefix: number;
  /** Learned tokens that have a classifier each. */
  heads: number;
  pooling: Pooling;
  /** Length of the vector that pooling makes of the tokens. */
  features: number;
  /** The layers that make tokens of patches; none where the tokenizer is no dense layer. */
  embedding: DenseLayers[];
  /** The layers of one transformer block, in the order of the computation. */
  block: DenseLayers[];
  /** The layers after pooling, the classifier last. */
  head: DenseLayers[];
  /** The shape of every weight by its plain name, in the order of the layers. */
  weights: ReadonlyMap<string, readonly number[]>;
  /** Numbers in all weights together. */
  parameters: number;
}

/** Above the largest published Vision Transformer, ViT-22B; 160 GB of float32. */
const mostParameters = 4e10;

/**
 * Describes the classifier of a configuration.
 * @param config a checked configuration
 * @throws {UserError} if it would have more than 4e10 parameters.
 */
export function architectureOf(config: ViTConfig): Architecture {
  const { projectionDim: dim, mlpHeadUnits } = config;
  const pooling: Pooling = poolings[config.pooling];
  const tokenizer: Tokenizer = tokenizers[config.tokenizer];
  const side = tokenizer.side(config);
  const classToken = pooling.classToken || config.classToken;
  const prefix = (classToken ? 1 : 0) + (config.distillation === "none" ? 0 : 1);
  const heads = config.distillation === "heads" ? 2 : 1;
  const tokens = side ** 2 + prefix;
  const features = pooling.width(tokens, dim, heads);
  const inner = config.numHeads * config.keyDim;

  const projections = ["attention.query", "attention.key", "attention.value"];
  const sizes = {
    ...{ tokenizer, side, tokens, classToken, prefix, heads, pooling, features },
    embedding: [tokenizer.dense?.(config)].filter((layer) => layer !== undefined)
      .map(({ name, inner, isInputLearned }) => ({
        ...dense([name], side ** 2, inner, dim),
        isFirst: !isInputLearned,
      })),
    block: [
      dense(projections, tokens, dim, inner),
      dense(["attention.output"], tokens, inner, dim),
      ...chain("mlp", tokens, dim, config.transformerUnits),
    ],
    head: [
      ...chain("head", 1, features, mlpHeadUnits),
      ...classifiers(heads, mlpHeadUnits.at(-1) ?? features, config.numClasses),
    ],
  };
  const weights = weightsOf(config, sizes);
  const parameters = [...weights.values()].reduce(
    (sum, shape) => sum + shape.reduce((product, extent) => product * extent, 1),
    0,
  );
  if (parameters > mostParameters) {
    const { transformerLayers, numClasses } = config;
    throw new UserError(
      `The model would have ${parameters.toExponential(1)} parameters (${tokens} tokens of ` +
        `projectionDim ${dim}, transformerLayers ${transformerLayers}, ${features} features, ` +
        `numClasses ${numClasses}), and ${mostParameters.toExponential()} are the most; ` +
        `choose smaller ones.`,
    );
  }
  return { ...sizes, weights, parameters };
}

function dense(names: string[], rows: number, inner: number, columns: number): DenseLayers {
  return { names, rows, inner, columns, parts: names.length };
}

/** The classifiers, each on its share of the features. */
function classifiers(heads: number, features: number, classes: number): DenseLayers[] {
  return ["classifier", "classifier.distillation"].slice(0, heads)
    .map((name) => dense([name], 1, features / heads, classes));
}

/** Dense layers one after another, `name.0`, `name.1`, … */
function chain(name: string, rows: number, first: number, units: number[]): DenseLayers[] {
  return units.map((columns, i) =>
    dense([`${name}.${i}`], rows, i === 0 ? first : units[i - 1]!, columns)
  );
}

function weightsOf(
  config: ViTConfig,
  { tokenizer, tokens, classToken, pooling, features, block, head }: Omit<
    Architecture,
    "weights" | "parameters"
  >,
): Map<string, number[]> {
  const { projectionDim: dim, numHeads, transformerLayers, layerScale } = config;
  const { encoder } = tokenizer;
  const shapes = new Map<string, number[]>(tokenizer.weights(config));
  const add = ({ names, inner, columns }: DenseLayers, scope = "", hasBias = true) => {
    for (const name of names) {
      shapes.set(`${scope}${name}.kernel`, [inner, columns]);
      if (hasBias) shapes.set(`${scope}${name}.bias`, [columns]);
    }
  };
  const scale = (name: string) => {
    if (layerScale > 0) shapes.set(`${name}.layer_scale.gamma`, [dim]);
  };
  const norm = (name: string, width = dim) =>
    shapes.set(`${name}.gamma`, [width]).set(`${name}.beta`, [width]);

  if (positionEmbeddings[config.positionEmbedding].learned) {
    shapes.set(`${encoder}.position_embedding`, [tokens, dim]);
  }
  if (classToken) shapes.set(`${encoder}.class_token`, [1, 1, dim]);
  if (config.distillation !== "none") shapes.set(`${encoder}.distillation_token`, [1, 1, dim]);
  const [projections, output, ...mlp] = block as [DenseLayers, DenseLayers, ...DenseLayers[]];
  for (let i = 0; i < transformerLayers; i++) {
    const scope = `blocks.${i}.`;
    norm(`${scope}norm1`);
    add(projections, scope, config.qkvBias);
    add(output, scope);
    if (config.localityAttention) shapes.set(`${scope}attention.scale`, [numHeads]);
    scale(`${scope}attention`);
    norm(`${scope}norm2`);
    for (const layer of mlp) add(layer, scope);
    scale(`${scope}mlp`);
  }
  const isPooled = config.finalNorm === "pooled";
  if (!isPooled) norm("norm");
  for (const [name, shape] of pooling.weights?.(dim) ?? []) shapes.set(name, shape);
  if (isPooled) norm("norm", features);
  for (const layer of head) add(layer);
  return shapes;
}

/**
 * Checks that weights are those of a configuration: none missing, none more, each of its shape.
 * Files from outside are checked so before their data is read or a model is built.
 * @param shapeOf shapes by name
 * @param source named in the error
 * @throws {UserError} naming the first weight that is wrong.
 */
export function checkWeightShapes(
  config: ViTConfig,
  shapeOf: ReadonlyMap<string, readonly number[]>,
  source: string,
): void {
  const needed = architectureOf(config).weights;
  for (const [name, shape] of needed) {
    const found = shapeOf.get(name);
    if (`${found}` === `${shape}`) continue;
    throw new UserError(
      `${source} does not fit its configuration: its weight ${name} ` +
        `${found ? `has the shape ${shown(found)}` : "is missing"}, [${shape}] is needed.`,
    );
  }
  for (const name of shapeOf.keys()) {
    if (needed.has(name)) continue;
    throw new UserError(
      `${source} does not fit its configuration, which has no weight ${shown(name)}.`,
    );
  }
}
