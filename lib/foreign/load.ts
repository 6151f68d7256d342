/** Weights of timm, Hugging Face and torchvision as weights of ours. */
import type { FloatTensor } from "../checkpoint/training_state.ts";
import { checkModelShape, type ViTConfig } from "../config/model.ts";
import { dirname } from "../deps.ts";
import { UserError } from "../errors.ts";
import type { PortableModel } from "../export/portable_model.ts";
import { architectureOf } from "../models/architecture.ts";
import { shown } from "../shown.ts";
import { describe } from "./describe.ts";
import {
  filesOfFolder,
  type ForeignFiles,
  ForeignTensors,
  isPickled,
  pickledError,
  readJsonIfAny,
} from "./files.ts";
import { type LayoutName, layoutOf, layouts, type Preparation } from "./layouts.ts";
import { resizePositions } from "./positions.ts";
import { foreignTensors, toOurs } from "./tensors.ts";
import { ownKey, preparationByHf, tellers, type Told, toldByOwn } from "./told.ts";

/** A model of another library. */
export interface ForeignModel {
  /** The file that it was read from. */
  source: string;
  layout: LayoutName;
  /** In our terms; its image size is that of its positions. */
  config: ViTConfig;
  /** By our names; without a classifier where the file has none. */
  weights: ReadonlyMap<string, FloatTensor>;
  /** In the order of the logits; none where they are not told. */
  classNames: string[];
  preparation: Preparation;
  /** What a person should know of, a sentence each. */
  notices: string[];
}

/**
 * The files of a foreign model at a path: a folder that holds `model.safetensors` or its index, or one of
 * these; undefined where a folder holds none.
 * @throws {UserError} for a pickled file.
 */
export async function findForeign(path: string): Promise<ForeignFiles | undefined> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info?.isDirectory) return await filesOfFolder(path);
  if (isPickled(path)) throw pickledError(path);
  return { folder: dirname(path), path };
}

/**
 * Loads a model. Names, shapes and the configuration beside it are checked before memory is taken for
 * the weights.
 * @param options.numHeads heads of files that do not say how many they have
 * @throws {UserError} naming the file and the fault.
 */
export async function loadForeign(
  { folder, path }: ForeignFiles,
  options: { numHeads?: number } = {},
): Promise<ForeignModel> {
  await using tensors = await ForeignTensors.open(path);
  const { shapes, metadata } = tensors;
  const found = layoutOf(shapes);
  if (!found) {
    const [name] = shapes.keys();
    throw new UserError(
      `${path} is of no layout that is known (timm, Hugging Face and torchvision): it has ` +
        `${
          name === undefined ? "no tensor" : `tensors such as ${shown(name)}`
        }; take the file of a ` +
        `plain ViT or DeiT.`,
    );
  }
  const { layout, names } = found;
  const told = await toldBeside(folder, layout, metadata, path);
  const { config, traits, notices } = describe(shapes, found, told, path, options.numHeads);
  const needed = foreignTensors(config, names, traits);
  checkShapes(needed, shapes, names.ignored ?? [], path);

  const weights = new Map<string, FloatTensor>();
  for (const tensor of needed) {
    for (const [name, weight] of toOurs(tensor, await tensors.read(tensor.name, path))) {
      weights.set(name, weight);
    }
  }
  return {
    source: path,
    ...{ layout, config, weights, notices },
    classNames: traits.hasClassifier ? told.classNames ?? [] : [],
    preparation: checkedPreparation(
      { ...layouts[layout].preparation, ...told.preparation },
      config.channels,
      path,
    ),
  };
}

/**
 * A model's configuration and weights for images of another size, the position embedding interpolated by
 * its layout's rule.
 * @throws {UserError} if the size is no multiple of the patches' side.
 */
export function atImageSize(
  { config, weights, layout }: Pick<ForeignModel, "config" | "weights" | "layout">,
  imageSize: number,
): { config: ViTConfig; weights: ReadonlyMap<string, FloatTensor> } {
  if (imageSize === config.imageSize) return { config, weights };
  const resized = { ...config, imageSize };
  checkModelShape(resized);
  const { side: from, prefix } = architectureOf(config);
  const { side: to } = architectureOf(resized);
  const name = "patch_encoder.position_embedding";
  const dim = config.projectionDim;
  const { data } = weights.get(name)!;
  const positions = {
    shape: [prefix + to * to, dim],
    data: resizePositions(data, { prefix, from, to, dim }, layouts[layout].positionRule),
  };
  return { config: resized, weights: new Map([...weights, [name, positions]]) };
}

/**
 * A model as it can be used at once, without fine-tuning.
 * @throws {UserError} if it has no classifier.
 */
export function portableOf(model: ForeignModel): PortableModel {
  const { source, config, weights, classNames, preparation } = model;
  if (![...weights.keys()].some((name) => name.startsWith("classifier."))) {
    throw new UserError(
      `${source} has no classifier, so it names no classes; fine-tune it first: deno task train ` +
        `--preset finetune --init-from ${source}`,
    );
  }
  const { channelMean, channelDeviation, ...form } = preparation;
  return {
    ...{ config, weights, classNames },
    preprocessing: {
      ...{ height: config.imageSize, width: config.imageSize, channels: config.channels },
      mean: channelMean.map((value) => value * 255),
      variance: channelDeviation.map((value) => (value * 255) ** 2),
      ...form,
    },
  };
}

async function toldBeside(
  folder: string,
  layout: LayoutName,
  metadata: Readonly<Record<string, string>>,
  path: string,
): Promise<Told> {
  const own = metadata[ownKey];
  if (own !== undefined) return toldByOwn(jsonOf(own, path), `${path}, metadata ${ownKey},`);
  if (layout === "torchvision") return { sizes: {} };
  const configPath = `${folder}/config.json`;
  const config = await readJsonIfAny(configPath);
  if (config === undefined) return { sizes: {} };
  const told = tellers[layout](config, configPath);
  if (layout !== "hf") return told;
  const preprocessorPath = `${folder}/preprocessor_config.json`;
  const preprocessor = await readJsonIfAny(preprocessorPath);
  if (preprocessor === undefined) return told;
  return { ...told, preparation: preparationByHf(preprocessor, preprocessorPath) };
}

function jsonOf(text: string, path: string): unknown {
  try {
    if (text.length <= 1 << 24) return JSON.parse(text);
  } catch {
    // Said below.
  }
  throw new UserError(`${path} cannot be used: its metadata ${ownKey} is no JSON.`);
}

function checkShapes(
  needed: ReturnType<typeof foreignTensors>,
  shapes: ReadonlyMap<string, readonly number[]>,
  ignored: readonly string[],
  path: string,
): void {
  const known = new Set([...needed.map(({ name }) => name), ...ignored]);
  for (const { name, shape } of needed) {
    const found = shapes.get(name);
    if (`${found}` === `${shape}`) continue;
    throw new UserError(
      `${path} cannot be used: its tensor ${shown(name)} ` +
        `${found ? `has the shape [${found}]` : "is missing"}, [${shape}] is needed.`,
    );
  }
  const more = [...shapes.keys()].find((name) => !known.has(name));
  if (more === undefined) return;
  throw new UserError(
    `${path} cannot be used: it has a tensor ${shown(more)}, which no plain ViT or DeiT of its ` +
      `layout has.`,
  );
}

function checkedPreparation(
  preparation: Preparation,
  channels: number,
  path: string,
): Preparation {
  const { channelMean, channelDeviation } = preparation;
  for (const [what, values] of [["mean", channelMean], ["deviation", channelDeviation]] as const) {
    if (values.length === channels) continue;
    throw new UserError(
      `${path} cannot be used: its preprocessing has a ${what} of ${values.length} channels, and ` +
        `its patches have ${channels}.`,
    );
  }
  const wrong = [
    ...channelMean.filter((value) => !(value >= 0 && value <= 1)),
    ...channelDeviation.filter((value) => !(value > 0 && value <= 1)),
  ][0];
  if (wrong === undefined) return preparation;
  throw new UserError(
    `${path} cannot be used: its preprocessing has ${wrong} as a mean or deviation, and of values ` +
      `0 to 1 they are 0 to 1.`,
  );
}
