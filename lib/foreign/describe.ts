/** A foreign file's model as a configuration of ours: sizes from the tensors, the rest as it is told. */
import { checkModelShape, type ViTConfig } from "../config/model.ts";
import { kerasCifar100 } from "../config/presets/keras_cifar100.ts";
import { modelConfigOf } from "../config/run.ts";
import { UserError } from "../errors.ts";
import { shown } from "../shown.ts";
import { type LayoutName, type LayoutNames, layouts, pairOf } from "./layouts.ts";
import type { FileTraits } from "./tensors.ts";
import { type Told, type ToldSizes, usualHeads } from "./told.ts";

/** A described file. */
export interface Described {
  config: ViTConfig;
  traits: FileTraits;
  /** What a person should know of, a sentence each. */
  notices: string[];
}

/** Blocks of the deepest models and more; names of a thousand million would take too long. */
const mostBlocks = 1024;

/**
 * Describes the model of tensors.
 * @param shapes of all tensors, by their names in the file
 * @param source named in errors
 * @param numHeads what the command line says of the heads, for files that do not
 * @throws {UserError} naming the first thing that does not fit.
 */
export function describe(
  shapes: ReadonlyMap<string, readonly number[]>,
  { layout, names }: { layout: LayoutName; names: LayoutNames },
  told: Told,
  source: string,
  numHeads?: number,
): Described {
  const wrong = (what: string) => new UserError(`${source} cannot be used: ${what}.`);
  const shapeOf = (name: string, rank: number): readonly number[] => {
    const shape = shapes.get(name);
    if (!shape) throw wrong(`its tensor ${shown(name)} is missing`);
    if (shape.length === rank && shape.every((extent) => extent > 0)) return shape;
    throw wrong(`its tensor ${shown(name)} has the shape [${shape}], and ${rank} axes are needed`);
  };
  const has = (name: string | undefined) => name !== undefined && shapes.has(name);

  const patchName = pairOf(names.patches).weight;
  const [width, channels, patchSize, patchWidth] = shapeOf(patchName, 4) as number[];
  if (patchSize !== patchWidth) {
    throw wrong(`its patches are ${patchSize} by ${patchWidth} pixels, and squares are needed`);
  }
  let depth = 0;
  while (has(pairOf(`${names.block(depth)}${names.norm1}`).weight) && depth < mostBlocks) depth++;
  const first = names.block(0);
  const [middle] = shapeOf(pairOf(`${first}${names.mlp[0]}`).weight, 2) as number[];
  const qkvBias = "fused" in names.attention
    ? has(`${first}${names.attention.fused.bias}`)
    : has(pairOf(`${first}${names.attention.each[0]}`).bias);

  const classToken = has(names.classToken);
  const hasDistillation = has(names.distillationToken);
  const classifier = classifierOf(names, has, hasDistillation);
  const classes = classifier === undefined ? undefined : shapeOf(pairOf(classifier).weight, 2)[0]!;
  const prefix = (classToken ? 1 : 0) + (hasDistillation ? 1 : 0);
  const [, places] = shapeOf(names.position, 3) as [number, number, number];
  // Which tokens have positions is told by which tokens there are, and the grid must be a square.
  const side = Math.sqrt(places - prefix);
  const hasPatchPositions = prefix > 0 && !Number.isInteger(side) &&
    Number.isInteger(Math.sqrt(places));
  const grid = hasPatchPositions ? Math.sqrt(places) : side;
  if (!(Number.isInteger(grid) && grid > 0)) {
    throw wrong(
      `its tensor ${shown(names.position)} has ${places} places, which are no square grid with ` +
        `${prefix} learned tokens before it`,
    );
  }
  const sizes: Required<ToldSizes> = {
    ...{ width: width!, depth, middle: middle!, patchSize: patchSize!, channels: channels! },
    ...{ imageSize: grid * patchSize!, classes: classes ?? told.sizes.classes ?? 2 },
  };
  for (const key of Object.keys(told.sizes) as (keyof ToldSizes)[]) {
    const said = told.sizes[key];
    if (said === undefined || said === sizes[key]) continue;
    throw wrong(
      `its tensors have ${wordsOf[key]} ${
        sizes[key]
      }, and the configuration beside it says ${said}`,
    );
  }
  const named = told.classNames?.length;
  if (classes !== undefined && named !== undefined && named !== classes) {
    throw wrong(`it has a classifier of ${classes} classes, and ${named} names of classes`);
  }
  const notices: string[] = [];
  const heads = told.numHeads ?? numHeads ?? assumedHeads(sizes.width, source, notices);
  if (sizes.width % heads !== 0) {
    throw wrong(`its width ${sizes.width} is no multiple of its ${heads} attention heads`);
  }
  const isPooled = has(names.pooledNorm && pairOf(names.pooledNorm).weight);
  const pooling = hasDistillation ? "token" : isPooled ? "mean" : told.pooling;
  const scale = names.scales && has(`${first}${names.scales[0]}`);
  const takesToken = pooling ? pooling === "token" : classToken;
  if (takesToken && !classToken) throw wrong(`its tensor ${shown(names.classToken)} is missing`);
  const config: ViTConfig = {
    ...modelConfigOf(kerasCifar100),
    ...{ imageSize: sizes.imageSize, channels: sizes.channels, patchSize: sizes.patchSize },
    ...{ projectionDim: sizes.width, numHeads: heads, keyDim: sizes.width / heads },
    ...{ transformerLayers: depth, transformerUnits: [sizes.middle, sizes.width] },
    ...{ mlpHeadUnits: [], numClasses: Math.max(2, sizes.classes) },
    ...{ attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
    pooling: takesToken ? "token" : "mean",
    classToken: classToken && !takesToken,
    distillation: !hasDistillation ? "none" : has(headOf(names)) ? "heads" : "token",
    finalNorm: isPooled ? "pooled" : "tokens",
    layerScale: scale ? told.layerScale ?? 1e-5 : 0,
    layerNormEpsilon: told.epsilon ?? layouts[layout].epsilon,
    gelu: told.gelu ?? "exact",
    qkvBias,
    mlpLastActivation: false,
    initializer: "truncatedNormal",
  };
  checkRanges(config, wrong);
  const traits = { hasClassifier: classes !== undefined, hasPatchPositions };
  return { config, traits, notices };
}

const wordsOf: Record<keyof ToldSizes, string> = {
  width: "a width of",
  depth: "blocks to the number of",
  middle: "an MLP of width",
  patchSize: "patches of side",
  channels: "channels to the number of",
  imageSize: "positions for images of side",
  classes: "classes to the number of",
};

/** The classifier of the distillation token. */
function headOf({ classifiers }: LayoutNames): string | undefined {
  return classifiers && pairOf(classifiers[1]).weight;
}

/** The classifier that tells the number of classes. */
function classifierOf(
  names: LayoutNames,
  has: (name: string | undefined) => boolean,
  hasDistillation: boolean,
): string | undefined {
  const stems = [...(hasDistillation ? names.classifiers ?? [] : []), names.classifier];
  return stems.find((stem) => has(pairOf(stem).weight));
}

function assumedHeads(width: number, source: string, notices: string[]): number {
  const heads = usualHeads(width);
  if (heads === undefined) {
    throw new UserError(
      `${source} does not say how many attention heads its width ${width} has; ` +
        `give them with --num-heads.`,
    );
  }
  notices.push(
    `${source} does not say how many attention heads it has; ${heads} are usual for a width of ` +
      `${width}, and --num-heads says otherwise.`,
  );
  return heads;
}

function checkRanges(config: ViTConfig, wrong: (what: string) => UserError): void {
  if (config.keyDim > 128) {
    throw wrong(`its heads are ${config.keyDim} wide, and 128 is the most`);
  }
  if (config.transformerLayers >= mostBlocks) throw wrong(`it has ${mostBlocks} blocks or more`);
  checkModelShape(config);
}
