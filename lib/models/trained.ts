/**
 * What of a model is trained, and at what share of the learning rate: by the depth of its weights, from
 * those that make tokens to those of the classifier.
 */
import type { RunConfig } from "../config/run.ts";
import { isTapeOn } from "../kernels/lazy_gradient.ts";
import type { tf } from "../tfjs.ts";
import { isAdapter } from "./lora.ts";

/** The fields of a run that decide it. */
export type Training = Pick<
  RunConfig,
  "freeze" | "lora" | "layerDecay" | "headRate" | "transformerLayers"
>;

/** Layers that are no part of a backbone. */
const headScopes = /^(classifier|head|pooling|pooling_dropout)(\.|$)/;

/**
 * Depth of a weight, or of the layer of that name: 0 of what makes tokens, n of the n-th block, and one
 * more of all that follows the blocks.
 */
function depthOf(name: string, { transformerLayers }: Training): number {
  const [, index] = /^blocks\.(\d+)\./.exec(name) ?? [];
  if (index !== undefined) return Number(index) + 1;
  return /^norm\./.test(name) || isOfHead(name) ? transformerLayers + 1 : 0;
}

/** Whether a weight of that plain name is of the head: of what follows the backbone. */
export function isOfHead(name: string): boolean {
  return headScopes.test(name);
}

/** Whether a weight of that plain name is trained. */
export function isTrained(name: string, config: Training): boolean {
  const { freeze, lora } = config;
  if (lora > 0) return isAdapter(name) || isOfHead(name);
  if (freeze === "none") return true;
  return freeze === "backbone" ? isOfHead(name) : depthOf(name, config) > Number(freeze);
}

/**
 * Factor of a weight's learning rate: `layerDecay` for each step of depth from the head down (Clark et
 * al., 2020, "ELECTRA"), and `headRate` for the head.
 */
export function rateFactorOf(name: string, config: Training): number {
  const { layerDecay, headRate, transformerLayers } = config;
  const decayed = layerDecay ** (transformerLayers + 1 - depthOf(name, config));
  return isOfHead(name) ? decayed * headRate : decayed;
}

/** The variables that are trained, by plain name. */
export function trainedVariables(
  variables: ReadonlyMap<string, tf.Variable>,
  config: Training,
): Map<string, tf.Variable> {
  return new Map([...variables].filter(([name]) => isTrained(name, config)));
}

/** Factors of the learning rate by the variables' own names, those that are 1 left out. */
export function rateFactors(
  variables: ReadonlyMap<string, tf.Variable>,
  config: Training,
): Map<string, number> {
  return new Map(
    [...variables].map(([plain, { name }]): [string, number] => [name, rateFactorOf(plain, config)])
      .filter(([, factor]) => factor !== 1),
  );
}

/**
 * What steps need of a model: a whole one has it, and the part of one that {@linkcode trainedPart}
 * makes.
 * @internal
 */
export type StepModel = Pick<tf.LayersModel, "apply" | "layers" | "inputs">;

/** A model in two parts, one after the other. */
export interface SplitModel {
  /** Layers before the first trained weight: nothing of them is wanted but what they give. */
  frozen: tf.layers.Layer[];
  /** The rest, with the dropout right before it. */
  trained: tf.layers.Layer[];
}

/** The layers of a classifier in two parts; undefined where all of it is trained. */
export function splitModel(model: StepModel, config: Training): SplitModel | undefined {
  if (config.freeze === "none" && config.lora === 0) return undefined;
  const layers = model.layers.filter((layer) => layer.getClassName() !== "InputLayer");
  let cut = layers.findIndex(({ weights }) =>
    weights.some((weight) =>
      isTrained((weight as tf.LayerVariable).originalName.replaceAll("/", "."), config)
    )
  );
  while (cut > 0 && layers[cut - 1]!.name === "pooling_dropout") cut--;
  return { frozen: layers.slice(0, cut), trained: layers.slice(cut) };
}

/**
 * The trained part as a model of its own, whose input is what the frozen part gives; its variables are
 * the whole model's.
 */
export function trainedPart({ inputs }: StepModel, { trained }: SplitModel): StepModel {
  return {
    // Of the whole model: they say how large its images are.
    inputs,
    layers: trained,
    apply: (x, options) => applied(trained, x as tf.Tensor, options ?? {}),
  };
}

/**
 * The output of layers in a row. Off the tape, what lies between them is freed as soon as it is used.
 * @param x stays the caller's
 */
export function applied(
  layers: readonly tf.layers.Layer[],
  x: tf.Tensor | tf.Tensor[],
  options: Record<string, unknown>,
): tf.Tensor | tf.Tensor[] {
  let output = x;
  for (const layer of layers) {
    const input = output;
    output = layer.apply(input, options) as tf.Tensor | tf.Tensor[];
    if (isTapeOn()) continue;
    const kept = new Set([x, output].flat());
    for (const tensor of [input].flat()) if (!kept.has(tensor)) tensor.dispose();
  }
  return output;
}
